# SPDX-License-Identifier: MIT
"""Helpers of the mounted tests."""
