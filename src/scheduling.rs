//! How the daemon's threads share processors that are all in use.

/// From now on no thread of this process, but those that run already, interrupts another that is at
/// work: it waits for its turn. A frame more or less at a time is the same to the journal and to a
/// broker's batches, and each switch of threads costs. Where a processor is idle nothing changes.
///
/// Linux only. A sandbox may forbid it, and then it is as it was.
pub(crate) fn take_turns() {
    #[cfg(target_os = "linux")]
    set_batch();
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the standard library has no call for it")]
fn set_batch() {
    let normal = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 is the thread that calls, and `normal` is only read.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const normal) };
}
