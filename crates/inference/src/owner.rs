//! The thread that owns a model and serves one request after the other. Callers wait in a bounded queue; one that
//! has gone away is not served, and its work ends at the next look.

use tokio::sync::{mpsc, oneshot};

use crate::InferenceError;

/// Requests that wait. More callers wait for a place in the queue, so nothing is refused.
const QUEUE: usize = 64;

/// A way to the thread. It ends with the last of them.
#[derive(Debug)]
pub(crate) struct Owner<Request, Answer> {
    commands: mpsc::Sender<Command<Request, Answer>>,
}

type Reply<Answer> = oneshot::Sender<Result<Answer, InferenceError>>;

struct Command<Request, Answer> {
    request: Request,
    reply: Reply<Answer>,
}

impl<Request, Answer> Clone for Owner<Request, Answer> {
    fn clone(&self) -> Self {
        Self { commands: self.commands.clone() }
    }
}

impl<Request: Send + 'static, Answer: Send + 'static> Owner<Request, Answer> {
    /// Starts the thread. `serve` answers a request, or gives up (`None`) once nobody wants the answer any more.
    pub(crate) fn start(
        name: &str,
        serve: impl Fn(Request, &(dyn Fn() -> bool + Sync)) -> Result<Option<Answer>, InferenceError>
        + Send
        + 'static,
    ) -> Result<Self, InferenceError> {
        let (commands, mut inbox) = mpsc::channel::<Command<Request, Answer>>(QUEUE);
        std::thread::Builder::new()
            .name(format!("model {name}"))
            .spawn(move || {
                while let Some(Command { request, reply }) = inbox.blocking_recv() {
                    if reply.is_closed() {
                        continue;
                    }
                    match serve(request, &|| reply.is_closed()) {
                        // Whoever asked may have gone; then nobody wants the answer.
                        Ok(Some(answer)) => drop(reply.send(Ok(answer))),
                        Ok(None) => {}
                        Err(error) => drop(reply.send(Err(error))),
                    }
                }
            })
            .map_err(|source| InferenceError::Open { path: name.into(), source })?;
        Ok(Self { commands })
    }

    /// Asks, and waits for the answer. Dropping the future ends the work.
    pub(crate) async fn ask(&self, request: Request) -> Result<Answer, InferenceError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command { request, reply }).await.map_err(|_| InferenceError::ThreadGone)?;
        answer.await.map_err(|_| InferenceError::ThreadGone)?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn answers_belong_to_their_requests() {
        let owner = Owner::start("double", |x: u32, _| Ok(Some(2 * x))).unwrap();
        let answers = futures_util::future::join_all((0..200).map(|x| {
            let owner = owner.clone();
            async move { owner.ask(x).await.unwrap() }
        }))
        .await;
        assert_eq!(answers, (0..200).map(|x| 2 * x).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_caller_that_leaves_ends_its_work_and_is_not_served_later() {
        let served = Arc::new(AtomicUsize::new(0));
        let (started, has_started) = channel();
        let count = served.clone();
        let owner =
            Owner::start("waits", move |is_endless: bool, is_unwanted: &(dyn Fn() -> bool + Sync)| {
                count.fetch_add(1, Ordering::SeqCst);
                started.send(()).unwrap();
                while is_endless && !is_unwanted() {
                    std::thread::yield_now();
                }
                Ok((!is_endless).then_some(()))
            })
            .unwrap();
        let endless = tokio::spawn({
            let owner = owner.clone();
            async move { owner.ask(true).await }
        });
        let _has_started = tokio::task::spawn_blocking(move || {
            has_started.recv().unwrap();
            has_started
        })
        .await
        .unwrap();
        // Waits behind the endless one, and leaves before its turn.
        let mut waiting = Box::pin(owner.ask(false));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(waiting);
        endless.abort();
        assert!(owner.ask(false).await.is_ok(), "the thread serves on");
        assert_eq!(served.load(Ordering::SeqCst), 2, "the endless one and the last");
    }
}
