"""The lab on a Kubernetes cluster: manifests from .deploy/kubernetes, applied with kubectl."""
