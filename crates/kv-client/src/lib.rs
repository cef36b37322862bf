//! PD client and transactional client.
