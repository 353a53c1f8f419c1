"""Deployments that the tests of this folder share, until the last of these tests has ended."""

from tests.deployed import deployed as deployed
from tests.deployed import tossed as tossed
