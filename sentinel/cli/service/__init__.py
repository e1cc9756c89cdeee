"""`sentinel service`: the units of systemd for this very installation, however it was installed (pipx, uv, pip)."""
