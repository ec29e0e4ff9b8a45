"""The files below /sys that tell a container about itself; renderers are pure, as in `procfiles`."""
