"""Colours of pages and figures, on light and on dark paper, as properties of a style sheet."""

LIGHT = """\
--paper: #ffffff; --ink: #1f2430; --soft: #626b7d; --rule: #dfe3ea; --tint: #f4f6f9;
  --link: #2457c5; --bad: #b3261e; --good: #1e7d4f; --wait: #8a93a6;
  --c0: #3b6fd4; --c1: #d9662b; --c2: #2f9e6e; --c3: #a4479f; --c4: #a5800f; --c5: #6b7280;"""

DARK = """\
--paper: #15181f; --ink: #e4e8f0; --soft: #9aa4b7; --rule: #303743; --tint: #1d222b;
  --link: #8ab4ff; --bad: #ff8a80; --good: #6fd3a1; --wait: #7f8a9e;
  --c0: #7aa5f5; --c1: #f0955f; --c2: #5cc797; --c3: #d48bd0; --c4: #d6b44a; --c5: #9aa3b2;"""
