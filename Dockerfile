# Image of a node: the pinned dependencies, nothing of the package, which travels with the submitted folder.
#   docker build -t objadapt .
# torch comes as a CUDA build from PyPI; a node with a GPU needs no more than NVIDIA's driver and container toolkit.
FROM python:3.11-slim

# wget: KubeRay asks the nodes for their health with it
RUN apt-get update && apt-get install -y --no-install-recommends wget && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 ray
WORKDIR /home/ray
COPY requirements.txt constraints.txt objadapt-setup/
RUN pip install --no-cache-dir -c objadapt-setup/constraints.txt -r objadapt-setup/requirements.txt

USER ray
ENV RAY_AUTH_MODE=token
