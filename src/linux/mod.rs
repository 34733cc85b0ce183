//! The only code that touches this machine: sysfs, devices, ioctls, mounts, programs.
