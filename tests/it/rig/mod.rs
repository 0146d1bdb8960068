//! The rig does what its words say; otherwise no other test could be believed.

mod client;
mod origin;
mod process;
