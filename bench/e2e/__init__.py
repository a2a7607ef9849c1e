# SPDX-License-Identifier: MIT
"""End-to-end benchmark: the same work on foldfs and on its peers, paired within one run."""
