//! What becomes of the saves of programs that know nothing of Intact: the driver that Windows would load, in the lab.

mod endings;
