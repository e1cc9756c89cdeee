"""GPUs: amdgpu, KFD, NVML, the SMI tools, hotplug."""
