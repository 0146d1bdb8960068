//! A timer that is cheap to postpone.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// Wakes a task at a deadline. A later deadline does not touch the timer: it rings too early,
/// and is only then set anew, so that a busy connection sets it once per time-out, not per request.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready once `deadline` has passed; otherwise the task, always the same one, is woken no later than
    /// that. Costs two loads while the timer runs: it then holds the waker of that task.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        match &self.sleep {
            Some(sleep) if sleep.deadline() <= deadline && !sleep.is_elapsed() => Poll::Pending,
            _ => self.poll_from_any(cx, deadline),
        }
    }

    /// The same for a caller whose task changes from poll to poll: the timer learns of the current one.
    pub(crate) fn poll_from_any(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        // Not by the budget of the task: a timer that was told to come again later does not run, and nobody comes
        // again to one that does.
        while pin!(unconstrained(sleep.as_mut())).poll(cx).is_ready() {
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    async fn set(alarm: &mut Alarm, deadline: Instant) {
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll(cx, deadline))).await.is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn a_postponed_alarm_rings_at_the_last_deadline_and_a_moved_up_one_at_the_first() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut alarm = Alarm::default();
        set(&mut alarm, at(5)).await;
        set(&mut alarm, at(9)).await;
        poll_fn(|cx| alarm.poll(cx, at(9))).await;
        assert_eq!(start.elapsed(), Duration::from_secs(9));
        set(&mut alarm, at(60)).await;
        poll_fn(|cx| alarm.poll(cx, at(12))).await;
        assert_eq!(start.elapsed(), Duration::from_secs(12));
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_set_by_a_task_that_must_yield_rings_all_the_same() {
        let start = Instant::now();
        let deadline = start + Duration::from_secs(5);
        let mut alarm = Alarm::default();
        let mut first = true;
        let rung = poll_fn(|cx| {
            // As on a connection whose client has sent so much that the task had to stop in the middle.
            while std::mem::take(&mut first) || tokio::task::coop::has_budget_remaining() {
                if std::pin::pin!(tokio::task::coop::consume_budget()).poll(cx).is_pending() {
                    break;
                }
            }
            alarm.poll(cx, deadline)
        });
        assert!(tokio::time::timeout(Duration::from_mins(1), rung).await.is_ok());
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }
}
