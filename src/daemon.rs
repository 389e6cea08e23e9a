//! The composition root: config → store → reconcile → serve → drain.
