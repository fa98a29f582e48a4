//! How the process's threads share processors that are all in use.

/// Gives this thread, and those that it starts from now on, the scheduling policy for batch work: a
/// thread that wakes up does not interrupt one that runs. The journal and the brokers' batches do not
/// mind a frame more or less at a time, and each switch between threads costs. Where a processor is
/// idle nothing changes.
///
/// Linux only. If a sandbox forbids the call, the policy stays as it is.
pub(crate) fn set_batch_scheduling() {
    #[cfg(target_os = "linux")]
    set_batch_policy();
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the standard library has no call for it")]
fn set_batch_policy() {
    let normal = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 stands for the calling thread, and `normal` is only read.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const normal) };
}
