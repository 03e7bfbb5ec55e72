//! Which saves are made atomic: rules, their registry form, the matcher
