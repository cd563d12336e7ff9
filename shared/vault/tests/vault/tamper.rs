//! Every stored object of a small recovery point, changed in every way: nothing is accepted, and no byte given out that is not right.

use bytes::Bytes;
use domain::PackId;
use vault::{PointRef, Share, Vault};

use crate::world::{ARCHIVE, Names, PEOPLE, World, back_up, names};

/// A recovery point among others, and what was tried on it.
struct Sweep {
    world: World,
    names: Names,
    reference: PointRef,
    pack: PackId,
    tried: u64,
    rejected: u64,
}

impl Sweep {
    async fn new(names: Names) -> Self {
        Self::of(World::new(), names).await
    }

    /// A recovery point in a world that may hold others.
    async fn of(world: World, names: Names) -> Self {
        let reference = world.back_up(names).await.unwrap().point;
        let pack = world.open(names, &reference).await.unwrap().link().packs[0].id;
        Self { world, names, reference, pack, tried: 0, rejected: 0 }
    }

    /// The objects that the recovery point consists of.
    fn objects(&self) -> Vec<(String, Bytes)> {
        let Names { tenant, run, .. } = self.names;
        let link = format!("chain/{:012}", self.reference.sequence);
        let parts = ["keys/dedup".to_owned(), format!("/{run}"), self.pack.to_string(), link];
        let ours = |key: &String| key.contains(&tenant.to_string()) && parts.iter().any(|part| key.contains(part.as_str()));
        let objects: Vec<_> = self.world.store.objects().into_iter().filter(|(key, _)| ours(key)).collect();
        assert_eq!(objects.len(), 6, "two key records, a pack, a list, a manifest and a link");
        objects
    }

    /// Puts `bytes` in an object's place and restores: it must fail, having given out only the beginning of what was written.
    async fn attempt(&mut self, key: &str, bytes: impl Into<Bytes>) {
        self.world.store.overwrite(key, bytes);
        self.tried += 1;
        self.rejected += u64::from(!self.restores().await);
    }

    /// Whether everything can be read. Whatever is read must be right.
    async fn restores(&self) -> bool {
        let Ok(reader) = self.world.open(self.names, &self.reference).await else { return false };
        let mut sound = true;
        for (name, rows) in [("app.people", PEOPLE), ("app.nobody", b"")] {
            let mut given = Vec::new();
            let mut slices = reader.stream(name).unwrap().all();
            loop {
                match slices.next().await {
                    Ok(Some(chunk)) => given.extend_from_slice(&chunk),
                    Ok(None) => break assert_eq!(given, rows),
                    Err(_) => {
                        sound = false;
                        break assert!(rows.starts_with(&given));
                    }
                }
            }
        }
        match reader.blob("pre-data").await {
            Ok(document) => assert_eq!(document, ARCHIVE),
            Err(_) => sound = false,
        }
        sound
    }

    async fn check_finds_it(&self, what: &str) {
        let Names { tenant, point, .. } = self.names;
        let report = self.world.vault.check(tenant, point, &self.reference, Share::ALL).await.unwrap();
        assert!(!report.is_clean(), "{what}");
    }

    async fn end(self, what: &str, expected: u64) {
        println!("{what}: {} of {} rejected", self.rejected, self.tried);
        assert_eq!((self.rejected, self.tried), (expected, expected), "{what}");
        assert!(self.restores().await, "put back as it was, it restores");
    }
}

#[tokio::test]
async fn every_bit_of_every_object_matters() {
    let mut sweep = Sweep::new(names(1, 2, 3)).await;
    let mut expected = 0;
    for (key, bytes) in sweep.objects() {
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.to_vec();
                changed[at] ^= 1 << bit;
                sweep.attempt(&key, changed).await;
            }
            sweep.check_finds_it(&format!("byte {at} of {key}")).await;
        }
        expected += 8 * bytes.len() as u64;
        sweep.world.store.overwrite(&key, bytes);
    }
    sweep.end("bits flipped", expected).await;
}

#[tokio::test]
async fn an_object_cut_anywhere_is_refused() {
    let mut sweep = Sweep::new(names(1, 2, 3)).await;
    let mut expected = 0;
    for (key, bytes) in sweep.objects() {
        for kept in 0..bytes.len() {
            sweep.attempt(&key, bytes.slice(..kept)).await;
            sweep.attempt(&key, bytes.slice(bytes.len() - kept..)).await;
        }
        sweep.check_finds_it(&key).await;
        expected += 2 * bytes.len() as u64;
        sweep.world.store.overwrite(&key, bytes);
    }
    sweep.end("objects cut", expected).await;
}

#[tokio::test]
async fn an_object_with_more_bytes_is_refused_or_the_same_to_a_reader() {
    let mut sweep = Sweep::new(names(1, 2, 3)).await;
    let (mut expected, mut unread) = (0, 0);
    for (key, bytes) in sweep.objects() {
        for extra in [&b"\0"[..], b"\n", b" ", &[0; 16], &bytes[1..]] {
            sweep.attempt(&key, [extra, &bytes].concat()).await;
            expected += 1;
            let longer = Bytes::from([&bytes, extra].concat());
            if key.contains("/packs/") {
                // Nobody reads behind a pack's last chunk, so it is no damage to any recovery point; no run builds upon it.
                sweep.world.store.overwrite(&key, longer);
                assert!(sweep.restores().await);
                unread += 1;
            } else {
                sweep.attempt(&key, longer).await;
                expected += 1;
            }
        }
        sweep.world.store.overwrite(&key, bytes);
    }
    assert_eq!(unread, 5);
    sweep.end("objects extended", expected).await;
}

#[tokio::test]
async fn a_sealed_object_of_another_suite_or_type_is_refused() {
    let mut sweep = Sweep::new(names(1, 2, 3)).await;
    let mut expected = 0;
    for (key, bytes) in sweep.objects() {
        let starts = bytes.windows(4).enumerate().filter(|(_, window)| window == b"HF1\0").map(|(at, _)| at);
        for start in starts.collect::<Vec<_>>() {
            for (at, value) in [4, 5].into_iter().flat_map(|field| (0..=255).map(move |value| (start + field, value))) {
                if bytes[at] != value {
                    let mut changed = bytes.to_vec();
                    changed[at] = value;
                    sweep.attempt(&key, changed).await;
                    expected += 1;
                }
            }
        }
        sweep.world.store.overwrite(&key, bytes);
    }
    assert_eq!(expected, 4 * 2 * 255, "two chunks, a list and a manifest");
    sweep.end("suites and types", expected).await;
}

#[tokio::test]
async fn no_object_stands_in_for_another() {
    // The same content everywhere: an earlier point, an earlier and a later run of the same point, another tenant, another vault.
    let world = World::new();
    let earlier = names(1, 2, 3).parent(&world.back_up(names(1, 2, 3)).await.unwrap().point);
    world.back_up(names(1, 12, 12)).await.unwrap();
    let mut sweep = Sweep::of(world, names(1, 12, 13)).await;
    sweep.world.back_up(names(1, 12, 14)).await.unwrap();
    back_up(&sweep.world.vault, names(1, 22, 23), Some(&earlier)).await.unwrap();
    sweep.world.back_up(names(9, 12, 13)).await.unwrap();
    let elsewhere = World::new();
    let (store, keys, signing) = (elsewhere.store.clone(), sweep.world.keys.clone(), sweep.world.signing.clone());
    let other_vault = Vault::new(store, keys, signing, "other".parse().unwrap());
    back_up(&other_vault, sweep.names, None).await.unwrap();

    let mut others: Vec<Bytes> = sweep.world.store.objects().into_values().collect();
    others.extend(elsewhere.store.objects().into_values());
    others.push(Bytes::from(vec![0; 1_000]));
    let mut expected = 0;
    for (key, bytes) in sweep.objects() {
        for other in others.iter().filter(|other| **other != bytes) {
            sweep.attempt(&key, other.clone()).await;
            expected += 1;
        }
        sweep.world.store.overwrite(&key, bytes);
    }
    sweep.end("objects replaced", expected).await;
}

#[tokio::test]
async fn every_byte_behind_the_first_chunk_of_a_stream_matters_and_what_came_before_is_right() {
    let world = World::new();
    let names = names(1, 2, 3);
    let rows = crate::world::table(0..8, 70_000, 0);
    let reference = world.back_up_rows(names, None, crate::world::header("people"), &rows).await.point;
    let pack = world.stored("/packs/").remove(0);
    let bytes = world.store.objects()[&pack].clone();
    let (mut tried, mut rejected, mut gave_some) = (0, 0, 0);
    for at in (0..bytes.len()).step_by(997) {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1 << (at % 8);
        world.store.overwrite(&pack, changed);
        let reader = world.open(names, &reference).await.unwrap();
        let mut slices = reader.stream("app.people").unwrap().all();
        let mut given = Vec::new();
        let whole = loop {
            match slices.next().await {
                Ok(Some(chunk)) => given.extend_from_slice(&chunk),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        assert!(rows.starts_with(&given));
        tried += 1;
        rejected += u32::from(!whole);
        gave_some += u32::from(!given.is_empty());
    }
    println!("bytes of a pack of several chunks: {rejected} of {tried} rejected, {gave_some} after sound chunks");
    assert_eq!(rejected, tried);
    assert!(gave_some > 0 && gave_some < tried);
}
