"""`edgebind doctor`: what this machine can run, and why not the rest."""

from __future__ import annotations

import json
from dataclasses import asdict

import click


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(as_json: bool) -> None:
    """Say what this machine can run, with which backends, and why not the rest.

    Looks at the processor, the NVIDIA driver, installed packages, the starter bundles and sensors. Changes nothing.
    """
    from edgebind import doctor

    findings = doctor.examine()
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
        return
    width = max(len(finding.name) for finding in findings)
    area = ""
    for finding in findings:
        if finding.area != area:
            area = finding.area
            click.secho(f"{area}", bold=True)
        mark = click.style("yes", fg="green") if finding.ok else click.style("no ", fg="yellow")
        advice = f"; {finding.remedy}" if finding.remedy else ""
        click.echo(f"  {mark} {finding.name:{width}}  {finding.detail}{advice}")
