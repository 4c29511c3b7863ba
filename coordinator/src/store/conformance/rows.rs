//! Reading and writing rows.

use bytes::Bytes;

use super::fixtures::{Fixture, range};
use super::puts;
use crate::store::Durability::{Buffered, Synced};
use crate::store::Family::{Active, Archive, Output};
use crate::store::{Batch, Family, Page, Store};

fn keys(rows: &[(Bytes, Bytes)]) -> Vec<&[u8]> {
    rows.iter().map(|(key, _)| &key[..]).collect()
}

pub(super) fn reads<F: Fixture>() {
    let mut fixture = F::new();
    assert_eq!(fixture.store().get_many(&[]).unwrap(), vec![]);
    let fence = fixture.claim();
    let batch = puts(&[
        (Active, "a", "1"),
        (Archive, "a", "2"),
        (Active, "", "empty key"),
        (Output, "v", ""),
    ]);
    fixture.commit(&fence, batch, Synced);
    let wanted: [(Family, &[u8]); 7] = [
        (Active, b"a"),
        (Output, b"a"),
        (Archive, b"a"),
        (Active, b"a"),
        (Active, b""),
        (Active, b"aa"),
        (Output, b"v"),
    ];
    let values = fixture.store().get_many(&wanted).unwrap();
    let expected = ["1", "-", "2", "1", "empty key", "-", ""];
    for (value, expected) in values.iter().zip(expected) {
        let expected = (expected != "-").then(|| Bytes::from_static(expected.as_bytes()));
        assert_eq!(*value, expected);
    }
    assert_eq!(values.len(), wanted.len());
}

pub(super) fn batches<F: Fixture>() {
    let mut fixture = F::new();
    let fence = fixture.claim();
    let mut batch = puts(&[(Active, "a", "1"), (Active, "b", "1"), (Active, "c", "1")]);
    batch.put(Active, "a", "2");
    batch.delete(Active, "b");
    batch.put(Active, "b", "3");
    batch.delete(Active, "c");
    batch.delete(Active, "missing");
    fixture.commit(&fence, batch, Synced);
    assert_eq!(fixture.get(Active, "a"), Some("2".into()));
    assert_eq!(fixture.get(Active, "b"), Some("3".into()));
    assert_eq!(fixture.get(Active, "c"), None);

    let mut batch = Batch::new();
    batch.put(Active, "d1", "x");
    batch.delete_range(Active, "d", "e");
    batch.put(Active, "d2", "x");
    fixture.commit(&fence, batch, Buffered);
    assert_eq!(keys(&fixture.rows(Active, 10)), [&b"a"[..], b"b", b"d2"]);

    fixture.commit(&fence, Batch::new(), Buffered);
    fixture.commit(&fence, Batch::new(), Synced);
    assert_eq!(fixture.rows(Active, 10).len(), 3);
}

pub(super) fn scans<F: Fixture>() {
    let mut fixture = F::new();
    let fence = fixture.claim();
    let names: [&[u8]; 8] = [b"", b"\0", b"a", b"a\0", b"a\0\0", b"a\xff", b"aa", b"b"];
    let mut batch = Batch::new();
    for name in names.iter().rev() {
        batch.put(Archive, name.to_vec(), name.to_vec());
    }
    fixture.commit(&fence, batch, Synced);
    for _ in 0..2 {
        let mut sorted = names;
        sorted.sort_unstable();
        for limit in [1, 2, 3, 8, 9] {
            assert_eq!(keys(&fixture.rows(Archive, limit)), sorted);
        }
        let store = fixture.store();
        let page = store.scan(Archive, range(b"a", b"aa"), 100).unwrap();
        assert_eq!(keys(&page.rows), [&b"a"[..], b"a\0", b"a\0\0"]);
        assert_eq!(page.next, None);
        let page = store.scan(Archive, range(b"a", b"b"), 3).unwrap();
        assert_eq!(page.rows.len(), 3);
        assert_eq!(page.next, Some(Bytes::from_static(b"aa")));
        let page = store.scan(Archive, range(b"a", b"b"), 5).unwrap();
        assert_eq!((page.rows.len(), page.next), (5, None));
        let page = store.scan(Archive, range(b"a", b"b"), 0).unwrap();
        assert_eq!((page.rows.len(), page.next), (0, Some("a".into())));
        for nothing in [range(b"b", b"a"), range(b"a", b"a"), range(b"x", b"y")] {
            assert_eq!(store.scan(Archive, nothing, 9).unwrap(), Page::default());
        }
        assert_eq!(
            store.scan(Active, range(b"", b"z"), 9).unwrap(),
            Page::default()
        );
        fixture.restart();
    }
}

pub(super) fn ranges<F: Fixture>() {
    let mut fixture = F::new();
    let fence = fixture.claim();
    let rows = ["a", "b", "b1", "b2", "c"];
    let mut batch = Batch::new();
    for (family, key) in [Output, Active]
        .into_iter()
        .flat_map(|family| rows.map(|key| (family, key)))
    {
        batch.put(family, key, "x");
    }
    fixture.commit(&fence, batch, Synced);
    let mut batch = Batch::new();
    batch.delete_range(Output, "b", "c");
    batch.delete_range(Output, "c", "a");
    batch.delete_range(Output, "a", "a");
    assert_eq!(batch.len(), 1, "ranges of nothing are dropped");
    fixture.commit(&fence, batch, Synced);
    for _ in 0..2 {
        assert_eq!(keys(&fixture.rows(Output, 10)), [b"a", b"c"]);
        assert_eq!(fixture.rows(Active, 10).len(), 5);
        assert_eq!(fixture.get(Output, "b1"), None);
        fixture.restart();
    }
}

pub(super) fn large_values<F: Fixture>() {
    let mut fixture = F::new();
    let fence = fixture.claim();
    let large: Vec<u8> = (0..16_usize << 20).map(|i| ((i * i) >> 7) as u8).collect();
    let large = Bytes::from(large);
    for family in Family::ALL {
        let mut batch = Batch::new();
        batch.put(family, "large", large.clone());
        batch.put(family, "larger", "small");
        assert_eq!(batch.bytes(), large.len() + 16);
        fixture.commit(&fence, batch, Synced);
    }
    for _ in 0..2 {
        for family in Family::ALL {
            assert!(fixture.get(family, "large") == Some(large.clone()));
            let page = fixture
                .store()
                .scan(family, range(b"a", b"z"), 100)
                .unwrap();
            assert_eq!(page.rows.len(), 1, "a page ends by its bytes");
            assert_eq!(page.next, Some("larger".into()));
            assert_eq!(fixture.rows(family, 100).len(), 2);
        }
        fixture.restart();
    }
}
