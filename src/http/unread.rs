//! If a request's body was not read to its end, its connection is closed.
//!
//! actix continues to read a chunked body after its handler has dropped it, for as long as the client sends: a stranger could send data to
//! a refused call without end. Therefore the body that a handler has dropped is kept until the answer is written, and then actix closes the
//! connection.

use std::cell::Cell;
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;

use actix_web::HttpMessage as _;
use actix_web::body::BodySize;
use actix_web::body::BoxBody;
use actix_web::body::MessageBody;
use actix_web::dev::Payload;
use actix_web::dev::ServiceRequest;
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::Stream;

use crate::http::connection::Turn;

/// A request's body, which the handler and the answer hold.
#[derive(Clone)]
pub(super) struct Unread(Rc<Body>);

struct Body {
    payload: RefCell<Payload>,
    is_read: Cell<bool>,
}

impl Unread {
    /// Takes the body of `request`; the handler reads it as before.
    pub(super) fn of(request: &mut ServiceRequest) -> Self {
        let payload = request.take_payload();
        let is_read = Cell::new(matches!(payload, Payload::None));
        let unread = Self(Rc::new(Body { payload: RefCell::new(payload), is_read }));
        request.set_payload(Payload::Stream { payload: Box::pin(unread.clone()) });
        unread
    }

    /// Whether the body was read to its end, so that the connection may be used for another call.
    pub(super) fn is_read(&self) -> bool {
        self.0.is_read.get()
    }

    /// `answer`, which holds the request's body and the connection's turn until it is written.
    pub(super) fn behind(self, answer: BoxBody, turn: Turn) -> Answer {
        Answer { body: answer, _unread: self, _turn: turn }
    }
}

impl Stream for Unread {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let chunk = Pin::new(&mut *self.0.payload.borrow_mut()).poll_next(context);
        if matches!(chunk, Poll::Ready(None)) {
            self.0.is_read.set(true);
        }
        chunk
    }
}

/// An answer's body, which also holds the request's body.
pub(super) struct Answer {
    body: BoxBody,
    _unread: Unread,
    _turn: Turn,
}

impl MessageBody for Answer {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(context)
    }
}
