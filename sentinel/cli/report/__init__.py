"""`sentinel report`: what is asked of the daemon for it, and where the page goes."""
