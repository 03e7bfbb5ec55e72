//! Windows structures for the lab, generated from the same headers as the driver's
