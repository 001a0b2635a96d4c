"""What pyproject.toml cannot say: folders at the top of a checkout that a wheel carries (see objadapt.declared)."""

from setuptools import find_packages, setup

CARRIED = {"objadapt.configs": "jobs/configs", "objadapt.search_spaces": "search_spaces", "dashboards": "dashboards"}

setup(packages=[*find_packages("platform"), *CARRIED], package_dir={"": "platform", **CARRIED})
