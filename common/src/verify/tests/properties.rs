//! For any chunks, any flipped bit and any bytes.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_chunking_gives_the_same_verdict(cuts in proptest::collection::vec(0..OUTPUT.len(), 0..8), flip in proptest::option::of(0..OUTPUT.len())) {
        let delivery = Delivery::new();
        let mut stream = delivery.started();
        let mut sent = OUTPUT.to_vec();
        if let Some(at) = flip {
            sent[at] ^= 0x10;
        }
        let mut cuts = cuts;
        cuts.extend([0, sent.len()]);
        cuts.sort_unstable();
        for pair in cuts.windows(2) {
            stream.output(1, pair[0] as u64, &sent[pair[0]..pair[1]]).unwrap();
        }
        let verdict = stream.finish(&delivery.file().parts(), &delivery.result).map(|_| ());
        prop_assert_eq!(verdict, flip.map_or(Ok(()), |_| Err(VerifyError::OutputHash)));
    }

    #[test]
    fn one_flipped_bit_anywhere_in_a_proof_is_caught(part in 0..6_usize, at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let delivery = Delivery::new();
        let mut file = delivery.file();
        let bytes = [&mut file.spec, &mut file.assignment, &mut file.assignment_sig, &mut file.receipt, &mut file.receipt_sig, &mut file.service_key];
        let bytes = bytes.into_iter().nth(part).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(verify_receipt_file(&file, Some(&delivery.trust()), Some(OUTPUT)).is_err());
        prop_assert!(verify_receipt_file(&file, None, Some(OUTPUT)).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        let parts = ProofParts { spec: &bytes, assignment: &bytes, assignment_signature: &bytes, receipt: &bytes, receipt_signature: &bytes, service_key: &bytes };
        prop_assert!(Proof::decode(&parts).is_err());
        let _ = ReceiptFile::from_bytes(&bytes);
        let mut stream = Delivery::new().started();
        prop_assert!(stream.start(1, &bytes, &bytes).is_err());
        prop_assert!(stream.checkpoint(1, &bytes, &bytes).is_err());
    }
}
