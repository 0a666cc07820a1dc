"""What calibration did to an encoder, for people: where two graphs depart, and the pages that show it.

layers.py         two graphs of one encoder, tensor by tensor
compare.py        two bundles, graphs or backends on the same windows, and compare_page.py, its page
evidence.py       what an export's report shows, and report_page.py, its page
pictures.py       the plots of both
"""
