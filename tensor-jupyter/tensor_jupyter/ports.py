"""The lab's default ports, a copy of those in `versions.env`, which the image does not contain.

A test compares them (tests/docs/test_facts.py). A running lab sets LAB_REST_URL and its other variables itself.
"""

REST = 8080
JUPYTER = 8888
BOARD = 6006
SERVING = 9000
SERVING_REST = 8501
INVENTORY = 8502
