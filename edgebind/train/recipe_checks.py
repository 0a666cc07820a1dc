"""Parts of a recipe that do not fit each other are refused before anything is computed; `limits` looks at single numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgebind import modality as modalities
from edgebind.errors import OptionError

if TYPE_CHECKING:
    from edgebind.train.recipe import Edge, Recipe


def check(recipe: Recipe, path: Path) -> None:
    """Refuse a graph that binds nothing, or not all of its nodes, and edges whose classes contradict each other.

    Raises
    ------
    OptionError: names the node, the edge, the prompt or the question.
    """
    for name, node in recipe.nodes.items():
        if name != name.strip() or not name.replace("-", "").replace("_", "").isalnum():
            raise OptionError("a node's name becomes a file's", where=path, wanted="letters and digits", got=repr(name))
        modalities.get(node.modality)
    if not recipe.edges:
        raise OptionError("a recipe without edges binds nothing", where=path, wanted="at least one [[edges]]")
    for ends in (*(edge.ends for edge in recipe.edges), *(alignment.ends for alignment in recipe.alignments)):
        _check_ends(ends, recipe, path)
    _check_graph(recipe, path)
    for edge in recipe.edges:
        check_classes(edge, path)


def _check_ends(ends: tuple[str, ...], recipe: Recipe, path: Path) -> None:
    if len(ends) != 2 or ends[0] == ends[1]:
        raise OptionError("an edge has two ends", where=path, wanted="the names of two nodes", got=list(ends))
    for end in ends:
        if end not in recipe.nodes:
            raise OptionError("an edge ends in no node", where=path, wanted=" or ".join(recipe.nodes), got=repr(end))


def _check_graph(recipe: Recipe, path: Path) -> None:
    """Each two nodes have one edge, which reports and losses call by their names; and a node that learns has one at all."""
    ends = [frozenset(edge.ends) for edge in recipe.edges]
    twice = [edge.name for edge in recipe.edges if ends.count(frozenset(edge.ends)) > 1]
    if twice:
        wanted = "one, with all its data and prompts"
        raise OptionError("two edges have the same ends", where=path, wanted=wanted, got=twice[0])
    bound = {end for edge in recipe.edges for end in edge.ends}
    aligned = {end for alignment in recipe.alignments for end in alignment.ends}
    for name, node in recipe.nodes.items():
        if name not in bound and not (node.frozen and name in aligned):
            raise OptionError(
                f"no edge binds node {name!r}", where=path, wanted="an edge that ends in it, or no such node"
            )


def check_classes(edge: Edge, path: Path) -> None:
    """Refuse prompts that contradict each other, and a question about classes that the edge has no prompts for.

    Raises
    ------
    OptionError: names the prompt, or the question and the class.
    """
    _check_prompts(edge, path)
    labels = {prompts.label for prompts in edge.prompts}
    for question in edge.questions:
        strangers = sorted({label for group in question.groups for label in group} - labels)
        if strangers:
            raise OptionError(f"question {question.name!r} names a class without prompts", where=path, got=strangers[0])


def _check_prompts(edge: Edge, path: Path) -> None:
    if edge.templates and not any(prompts.names for prompts in edge.prompts):
        raise OptionError("templates without names to put in them", where=path, wanted="names in a class's prompts")
    try:
        phrasings = edge.phrasings
    except OptionError as error:
        raise error.at(path) from error
    known: dict[str, str] = {}
    for prompts, texts in zip(edge.prompts, phrasings, strict=True):
        for text in texts:
            other = known.setdefault(text, prompts.label)
            if other != prompts.label:
                raise OptionError(f"{text!r} stands for two classes", where=path, got=f"{other} and {prompts.label}")
