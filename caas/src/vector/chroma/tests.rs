//! The store against a real server, and against one that answers what a test says.

#[path = "../../../../emk/tests/servers/process.rs"]
mod process;
#[path = "../../../../emk/tests/servers/chroma.rs"]
mod server;
#[path = "../../../../emk/tests/servers/shared.rs"]
mod shared;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::task::{Context, Poll, Waker};

use agent_primitives::ManualClock;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::index::fixture::{document, wait};
use crate::index::{Index, IndexOptions, Mode, Query};
use shared::Shared;

static SERVER: Shared<server::Chroma> = Shared::new();
static STORES: AtomicU64 = AtomicU64::new(0);
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_io().build().unwrap());

/// A store with the runtime and the server that it needs.
#[derive(Debug)]
pub(crate) struct Hosted<S> {
    store: Chroma,
    _server: S,
}

/// A future that is polled in the runtime.
struct Inside<'a, T>(Answer<'a, T>);

impl<T> Future for Inside<'_, T> {
    type Output = Result<T, VectorError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let _inside = RUNTIME.enter();
        self.0.as_mut().poll(context)
    }
}

impl<S: fmt::Debug + Send + Sync> VectorStore for Hosted<S> {
    fn bind<'a>(&'a self, model: &'a str, dimensions: usize) -> Answer<'a, ()> {
        Box::pin(Inside(VectorStore::bind(&self.store, model, dimensions)))
    }

    fn replace<'a>(&'a self, document: &'a DocumentId, vectors: DocumentVectors) -> Answer<'a, ()> {
        Box::pin(Inside(VectorStore::replace(&self.store, document, vectors)))
    }

    fn delete<'a>(&'a self, document: &'a DocumentId) -> Answer<'a, ()> {
        Box::pin(Inside(VectorStore::delete(&self.store, document)))
    }

    fn search<'a>(&'a self, query: &'a [f32], k: usize, keep: Keep<'a>) -> Answer<'a, Vec<(ChunkId, f64)>> {
        Box::pin(Inside(VectorStore::search(&self.store, query, k, keep)))
    }

    fn count(&self) -> Answer<'_, usize> {
        Box::pin(Inside(self.store.count()))
    }
}

impl fmt::Debug for server::Chroma {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address())
    }
}

fn hosted<S>(address: &str, name: &str, server: S) -> Hosted<S> {
    let store = Chroma::new(address, name, Arc::new(ManualClock::default())).unwrap();
    Hosted { store, _server: server }
}

/// A new collection in the server that the tests share.
pub(crate) fn store() -> Hosted<Arc<server::Chroma>> {
    let server = SERVER.get(server::Chroma::start);
    let name = format!("vectors-{}", STORES.fetch_add(1, Ordering::Relaxed));
    hosted(&server.address(), &name, server)
}

fn id(name: &str) -> DocumentId {
    name.parse().unwrap()
}

fn new(vectors: &[(u128, [f32; 3])]) -> DocumentVectors {
    let new = vectors.iter().map(|(chunk, vector)| (ChunkId(*chunk), vector.to_vec())).collect();
    DocumentVectors { kept: Vec::new(), new }
}

fn nearest(store: &dyn VectorStore, k: usize) -> Vec<u128> {
    let hits = wait(store.search(&[1.0, 0.0, 0.0], k, &|_| true)).unwrap();
    hits.into_iter().map(|(chunk, _)| chunk.0).collect()
}

fn inner(error: &VectorError) -> &ChromaError {
    let VectorError::Store { source } = error else { panic!("{error:?}") };
    source.downcast_ref().unwrap()
}

#[test]
fn a_narrow_filter_has_its_hits_however_many_are_nearer() {
    let store = store();
    wait(store.bind("model", 3)).unwrap();
    for batch in 0..12_u128 {
        let vectors: Vec<_> =
            (0..200).map(|at| (batch * 1000 + at, [1.0, at as f32 / 1e4, batch as f32 / 1e4])).collect();
        wait(store.replace(&id(&format!("d{batch}")), new(&vectors))).unwrap();
    }
    wait(store.replace(&id("far"), new(&[(100_007, [-1.0, 0.1, 0.0]), (100_008, [-1.0, 0.0, 0.0])])))
        .unwrap();
    for batch in 0..6 {
        wait(store.delete(&id(&format!("d{batch}")))).unwrap();
    }
    let far = wait(store.search(&[1.0, 0.0, 0.0], 5, &|chunk| 100_000 < chunk.0)).unwrap();
    assert_eq!(far.iter().map(|(chunk, _)| chunk.0).collect::<Vec<_>>(), [100_007, 100_008]);
    let all = wait(store.search(&[1.0, 0.0, 0.0], 1000, &|chunk| chunk.0 % 1000 < 100)).unwrap();
    let found: BTreeSet<ChunkId> = all.iter().map(|(chunk, _)| *chunk).collect();
    assert_eq!((all.len(), found.len()), (602, 602));
    assert_eq!(nearest(&store, 3).len(), 3);
    assert_eq!(wait(store.count()).unwrap(), 1202);
}

#[test]
fn what_a_process_left_is_nobodys_until_it_is_put_again() {
    let server = SERVER.get(server::Chroma::start);
    let open = || {
        let store = hosted(&server.address(), "left", Arc::clone(&server));
        wait(store.bind("model", 3)).map(|()| store)
    };
    let first = open().unwrap();
    let (one, two) = ((1, [1.0, 0.0, 0.0]), (2, [0.9, 0.1, 0.0]));
    wait(first.replace(&id("a"), new(&[one, two]))).unwrap();
    wait(first.replace(&id("b"), new(&[(3, [0.8, 0.2, 0.0])]))).unwrap();
    let second = open().unwrap();
    assert!(nearest(&second, 9).is_empty());
    assert_eq!(wait(second.count()).unwrap(), 0);
    let plan =
        |vectors: &[_]| second.store.with(|state| state.claims.plan(&id("a"), &new(vectors), 3)).unwrap();
    assert!(plan(&[one, two]).written.is_empty(), "what is there is not sent again");
    assert_eq!(plan(&[one, (2, [0.5, 0.5, 0.0])]).written.len(), 1);
    wait(second.replace(&id("a"), new(&[one, (2, [0.5, 0.5, 0.0])]))).unwrap();
    assert_eq!(nearest(&second, 9), [1, 2]);
    wait(second.delete(&id("b"))).unwrap();
    let third = open().unwrap();
    let left = third.store.with(|state| Ok(state.claims.records())).unwrap();
    assert_eq!(left, 2, "what was replaced or deleted is gone from the server");
    for (model, dimensions) in [("other", 3), ("model", 4)] {
        let other = hosted(&server.address(), "left", ());
        assert_eq!(wait(other.bind(model, dimensions)).unwrap_err().code(), "AK0784");
    }
}

#[test]
fn a_collection_of_something_else_is_left_alone() {
    let server = SERVER.get(server::Chroma::start);
    let body = r#"{"name":"theirs","metadata":{"format":"their format"}}"#;
    let mut stream = TcpStream::connect(server.address().trim_start_matches("http://")).unwrap();
    let path = "/api/v2/tenants/default_tenant/databases/default_database/collections";
    let head = "Host: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json";
    write!(stream, "POST {path} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let store = hosted(&server.address(), "theirs", server);
    let error = wait(store.bind("model", 3)).unwrap_err();
    assert_eq!(inner(&error).code(), "AK0628");
    assert!(inner(&error).to_string().contains("`their format, "), "{error:?}");
}

#[test]
fn a_server_that_vanishes_fails_the_change_and_is_found_again_with_what_it_has() {
    let server = server::Chroma::start();
    let store = Arc::new(hosted(&server.address(), "survivor", ()));
    let embedder = || Arc::new(crate::index::fixture::Hashed::default());
    let words = || {
        let lexical = crate::lexical::MemoryBm25::new(crate::lexical::Parameters::default()).unwrap();
        let timer = Arc::new(ManualClock::default());
        let chunker = Arc::new(crate::index::fixture::Paragraphs);
        Index::new(IndexOptions::default(), chunker, Arc::new(lexical), timer).unwrap()
    };
    let on = |store: Arc<Hosted<()>>| wait(words().with_vectors(embedder(), store)).unwrap();
    let found = |index: &Index, mode| {
        let query = Query { mode, ..Query::new("whale", 9) };
        let hits = wait(index.search(&query)).map_err(|error| error.code())?.hits;
        Ok::<_, &'static str>(hits.iter().map(|hit| hit.chunk.text.to_string()).collect::<Vec<_>>())
    };
    let index = on(store);
    wait(index.put(document("a", &["a whale"]))).unwrap();
    let folder = server.stop();
    assert_eq!(wait(index.put(document("a", &["another whale"]))).unwrap_err().code(), "AK0789");
    assert_eq!(found(&index, Mode::Words), Ok(vec!["a whale".to_owned()]), "what was there is there still");
    assert_eq!(found(&index, Mode::Meaning), Err("AK0789"));
    assert_eq!(wait(index.forget(&id("a"))).unwrap_err().code(), "AK0789");
    assert_eq!(found(&index, Mode::Words), Ok(Vec::new()), "it is not found all the same");
    let server = server::Chroma::start_in(folder);
    let again = Arc::new(hosted(&server.address(), "survivor", ()));
    let index = on(Arc::clone(&again));
    assert_eq!(again.store.with(|state| Ok(state.claims.records())).unwrap(), 1);
    assert_eq!(found(&index, Mode::Meaning), Ok(Vec::new()));
    wait(index.put(document("a", &["a whale"]))).unwrap();
    assert_eq!(found(&index, Mode::Meaning), Ok(vec!["a whale".to_owned()]));
    let other = wait(again.replace(&id("b"), new(&[(1, [1.0, 0.0, 0.0])]))).unwrap_err();
    assert_eq!(other.code(), "AK0785");
}

/// A server that tells each request and gives the answers it was started with, the last one for ever; none is silence.
fn scripted(answers: Vec<Option<&'static str>>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, requests) = sync_channel(100);
    std::thread::spawn(move || {
        let mut answers = answers.into_iter().peekable();
        let mut silent = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                request.extend(byte);
            }
            if sender.send(String::from_utf8_lossy(&request).into_owned()).is_err() {
                return;
            }
            let last = answers.peek().copied().flatten();
            match answers.next().unwrap_or(last) {
                Some(answer) => {
                    let head = format!("Content-Length: {}\r\nConnection: close\r\n\r\n", 2);
                    let _ = write!(stream, "HTTP/1.1 {answer}\r\n{head}{{}}");
                }
                None => silent.push(stream),
            }
        }
    });
    (address, requests)
}

/// Polls until there is an answer, while time passes.
fn passing<T>(clock: &ManualClock, answer: Answer<'_, T>) -> Result<T, VectorError> {
    let mut answer = Inside(answer);
    loop {
        match Pin::new(&mut answer).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => return done,
            Poll::Pending => clock.advance(Duration::from_millis(10)),
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_busy_server_is_asked_three_times_and_one_that_refuses_once() {
    for (answer, times) in
        [("503 Busy", 3), ("429 Too many", 3), ("400 Bad", 1), ("401 Who", 1), ("409 No", 1)]
    {
        let (address, requests) = scripted(vec![Some(answer); 9]);
        let clock = ManualClock::default();
        let store = Chroma::new(&address, "abc", Arc::new(clock.clone())).unwrap();
        let store = store.timeout(Duration::from_secs(1 << 30));
        let error = passing(&clock, VectorStore::bind(&store, "model", 3)).unwrap_err();
        let ChromaError::Server { status: Some(status), .. } = inner(&error) else { panic!("{error:?}") };
        assert!(answer.starts_with(&status.to_string()), "{status}");
        assert_eq!(requests.try_iter().count(), times, "{answer}");
    }
}

#[test]
fn a_server_that_says_nothing_is_given_up_and_nothing_is_kept() {
    let (address, requests) = scripted(vec![None]);
    let clock = ManualClock::default();
    let store = Chroma::new(&address, "abc", Arc::new(clock.clone())).unwrap();
    let mut binding = Inside(VectorStore::bind(&store, "model", 3));
    let mut poll = || Pin::new(&mut binding).poll(&mut Context::from_waker(Waker::noop()));
    while requests.try_recv().is_err() {
        assert!(poll().is_pending());
        std::thread::yield_now();
    }
    clock.advance(Duration::from_secs(29));
    assert!(poll().is_pending());
    clock.advance(Duration::from_secs(1));
    let Poll::Ready(Err(error)) = poll() else { panic!("it waits on") };
    assert!(inner(&error).to_string().ends_with("did not answer in time"), "{error:?}");
    assert_eq!(inner(&wait(store.count()).unwrap_err()).code(), "AK0627", "it is not bound");
}

#[test]
fn a_token_goes_with_each_request_and_is_never_shown() {
    for (header, expected) in [
        (TokenHeader::Authorization, "authorization: Bearer s3cret"),
        (TokenHeader::XChromaToken, "x-chroma-token: s3cret"),
    ] {
        let (address, requests) = scripted(vec![Some("400 Bad")]);
        let store = Chroma::new(&address, "abc", Arc::new(ManualClock::default())).unwrap();
        let store = store.token(header, "s3cret").unwrap();
        let error = wait(Inside(VectorStore::bind(&store, "model", 3))).unwrap_err();
        assert!(requests.recv().unwrap().contains(expected));
        assert!(!format!("{store:?}{error:?}").contains("s3cret"), "{store:?}");
    }
}

#[test]
fn what_cannot_be_spoken_to_is_refused() {
    let clock = || Arc::new(ManualClock::default());
    for address in ["", "localhost", "https://localhost", "http://a:b@localhost", "http://localhost/x"] {
        assert_eq!(Chroma::new(address, "abc", clock()).unwrap_err().code(), "AK0627", "{address}");
    }
    for name in ["", "ab", "-abc", "abc/", "a b c", "abc."] {
        assert_eq!(
            Chroma::new("http://localhost:8000", name, clock()).unwrap_err().code(),
            "AK0627",
            "{name}"
        );
    }
    for (address, token) in [("http://example.com", "secret"), ("http://localhost:8000", "sec\nret")] {
        let store = Chroma::new(address, "abc", clock()).unwrap();
        assert_eq!(store.token(TokenHeader::Authorization, token).unwrap_err().code(), "AK0627");
    }
}

#[test]
fn what_was_begun_and_not_claimed_is_waste() {
    let mut claims = Claims::default();
    let (a, unit) = (id("a"), [1.0, 0.0, 0.0]);
    let plan = claims.plan(&a, &new(&[(1, unit)]), 3).unwrap();
    claims.begin(&plan);
    claims.claim(&a, plan);
    assert!(claims.waste(9).is_empty());
    let dropped = claims.plan(&a, &new(&[(1, unit), (2, unit)]), 3).unwrap();
    assert_eq!(dropped.written.len(), 1, "what is there is not written again");
    claims.begin(&dropped);
    assert_eq!((claims.len(), claims.waste(9).len()), (1, 1));
    let again = claims.plan(&a, &new(&[(2, unit)]), 3).unwrap();
    claims.begin(&again);
    claims.claim(&a, again);
    let waste = claims.waste(9);
    assert_eq!((claims.len(), waste.len()), (1, 1), "the old one is waste, and the new one is not");
    assert!(waste.iter().all(|record| claims.chunk(*record).is_none()));
    claims.deleted(&waste);
    assert!(claims.waste(9).is_empty());
}
