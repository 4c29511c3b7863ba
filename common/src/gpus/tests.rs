use proptest::prelude::*;

use super::*;

fn known(name: &str) -> KnownGpu {
    match canonical(name) {
        Canonical::Known(gpu) => gpu,
        Canonical::Unknown { nearest, .. } => panic!("{name} is not known, nearest {nearest:?}"),
    }
}

fn nearest(name: &str) -> Option<&'static str> {
    match canonical(name) {
        Canonical::Known(gpu) => panic!("{name} is {}", gpu.model),
        Canonical::Unknown { nearest, .. } => nearest,
    }
}

#[test]
fn one_gpu_has_many_spellings() {
    for (spelling, model) in [
        ("rtx4090", "NVIDIA GeForce RTX 4090"),
        ("RTX 4090", "NVIDIA GeForce RTX 4090"),
        ("nvidia geforce rtx-4090", "NVIDIA GeForce RTX 4090"),
        ("NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 4090"),
        ("GeForce RTX4090 24GB", "NVIDIA GeForce RTX 4090"),
        ("4090", "NVIDIA GeForce RTX 4090"),
        ("rtx 4090 laptop", "NVIDIA GeForce RTX 4090 Laptop"),
        ("4070ti super", "NVIDIA GeForce RTX 4070 Ti SUPER"),
        ("A100 80 GB", "NVIDIA A100"),
        ("h100 pcie 80gb HBM2e", "NVIDIA H100 PCIe"),
        ("A6000", "NVIDIA RTX A6000"),
        ("6000 Ada", "NVIDIA RTX 6000 Ada"),
        ("RTX 6000", "NVIDIA Quadro RTX 6000"),
        ("RTX PRO 6000", "NVIDIA RTX PRO 6000 Blackwell"),
        ("7900 xtx", "AMD Radeon RX 7900 XTX"),
        ("W7900", "AMD Radeon PRO W7900"),
        ("MI300X", "AMD Instinct MI300X"),
        ("m3 max", "Apple M3 Max"),
        ("arc b580", "Intel Arc B580"),
        ("Max 1550", "Intel Data Center GPU Max 1550"),
    ] {
        assert_eq!(known(spelling).model, model, "{spelling}");
    }
}

/// What nvidia-smi, rocm-smi, macOS and Intel's drivers call common GPUs, with the memory that the name gives away.
const REPORTED: &[(&str, &str, Option<u32>)] = &[
    ("GeForce GTX 1060 6GB", "NVIDIA GeForce GTX 1060", Some(6)),
    (
        "GeForce GTX 1080 Ti",
        "NVIDIA GeForce GTX 1080 Ti",
        Some(11),
    ),
    (
        "NVIDIA GeForce RTX 3060",
        "NVIDIA GeForce RTX 3060",
        Some(8),
    ),
    (
        "NVIDIA GeForce RTX 4070 Ti SUPER",
        "NVIDIA GeForce RTX 4070 Ti SUPER",
        Some(16),
    ),
    (
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 Laptop",
        Some(16),
    ),
    (
        "NVIDIA GeForce RTX 5090",
        "NVIDIA GeForce RTX 5090",
        Some(32),
    ),
    (
        "NVIDIA GeForce RTX 5090 D v2",
        "NVIDIA GeForce RTX 5090 D v2",
        Some(24),
    ),
    ("NVIDIA TITAN RTX", "NVIDIA TITAN RTX", Some(24)),
    ("Quadro RTX 8000", "NVIDIA Quadro RTX 8000", Some(48)),
    ("NVIDIA RTX A2000 12GB", "NVIDIA RTX A2000", Some(12)),
    ("NVIDIA RTX A6000", "NVIDIA RTX A6000", Some(48)),
    (
        "NVIDIA RTX 6000 Ada Generation",
        "NVIDIA RTX 6000 Ada",
        Some(48),
    ),
    (
        "NVIDIA RTX 4000 SFF Ada Generation",
        "NVIDIA RTX 4000 SFF Ada",
        Some(20),
    ),
    (
        "NVIDIA RTX PRO 6000 Blackwell Workstation Edition",
        "NVIDIA RTX PRO 6000 Blackwell",
        Some(96),
    ),
    (
        "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
        "NVIDIA RTX PRO 6000 Blackwell Max-Q",
        Some(96),
    ),
    (
        "NVIDIA RTX PRO 6000 Blackwell Server Edition",
        "NVIDIA RTX PRO 6000 Blackwell Server",
        Some(96),
    ),
    (
        "NVIDIA RTX PRO 4000 Blackwell SFF Edition",
        "NVIDIA RTX PRO 4000 Blackwell SFF",
        Some(24),
    ),
    ("Tesla P40", "NVIDIA P40", Some(24)),
    ("Tesla P100-PCIE-16GB", "NVIDIA P100", Some(16)),
    ("Tesla T4", "NVIDIA T4", Some(16)),
    ("Tesla V100-SXM2-32GB", "NVIDIA V100", Some(32)),
    ("Tesla V100-DGXS-32GB", "NVIDIA V100", Some(32)),
    ("Tesla V100S-PCIE-32GB", "NVIDIA V100S", Some(32)),
    ("NVIDIA A10G", "NVIDIA A10G", Some(24)),
    ("NVIDIA A100-SXM4-80GB", "NVIDIA A100", Some(80)),
    ("NVIDIA A100-PCIE-40GB", "NVIDIA A100", Some(40)),
    ("NVIDIA A100 80GB PCIe", "NVIDIA A100", Some(80)),
    ("NVIDIA L4", "NVIDIA L4", Some(24)),
    ("NVIDIA L40S", "NVIDIA L40S", Some(48)),
    ("NVIDIA H100 80GB HBM3", "NVIDIA H100", Some(80)),
    ("NVIDIA H100 PCIe", "NVIDIA H100 PCIe", Some(80)),
    ("NVIDIA H100 NVL", "NVIDIA H100 NVL", Some(94)),
    ("NVIDIA H200", "NVIDIA H200", Some(141)),
    ("NVIDIA GH200 480GB", "NVIDIA GH200", Some(96)),
    ("NVIDIA GH200 144G HBM3e", "NVIDIA GH200", Some(144)),
    ("NVIDIA B200", "NVIDIA B200", Some(180)),
    ("NVIDIA GB200", "NVIDIA GB200", Some(186)),
    ("NVIDIA GB10", "NVIDIA GB10", None),
    ("NVIDIA Thor", "NVIDIA Jetson AGX Thor", None),
    ("AMD Radeon RX 6800 XT", "AMD Radeon RX 6800 XT", Some(16)),
    ("Radeon RX 7900 XTX", "AMD Radeon RX 7900 XTX", Some(24)),
    (
        "AMD Radeon PRO W7900 Dual Slot",
        "AMD Radeon PRO W7900",
        Some(48),
    ),
    (
        "AMD Radeon AI PRO R9700",
        "AMD Radeon AI PRO R9700",
        Some(32),
    ),
    ("AMD Radeon(TM) 8060S Graphics", "AMD Radeon 8060S", None),
    (
        "AMD INSTINCT MI250X (MCM) OAM AC MBA",
        "AMD Instinct MI250X",
        Some(128),
    ),
    ("AMD Instinct MI300X OAM", "AMD Instinct MI300X", Some(192)),
    ("AMD Instinct MI300X VF", "AMD Instinct MI300X", Some(192)),
    ("Radeon Instinct MI50", "AMD Instinct MI50", Some(16)),
    ("Apple M2", "Apple M2", None),
    ("Apple M5 Pro", "Apple M5 Pro", None),
    ("Intel(R) Arc(TM) A770 Graphics", "Intel Arc A770", Some(8)),
    (
        "Intel(R) Arc(TM) Pro B60 Graphics",
        "Intel Arc Pro B60",
        Some(24),
    ),
    (
        "Intel(R) Data Center GPU Max 1550",
        "Intel Data Center GPU Max 1550",
        Some(128),
    ),
];

#[test]
fn names_that_drivers_report_are_known() {
    for (reported, model, vram_gib) in REPORTED {
        assert_eq!(known(reported).model, *model, "{reported}");
        assert_eq!(super::vram_gib(reported), *vram_gib, "{reported}");
    }
}

#[test]
fn what_only_looks_alike_is_another() {
    for stranger in [
        "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
        "GRID A100-10C",
        "Tesla M4",
        "AMD A100",
        "NVIDIA GeForce RTX 2070 with Max-Q Design",
        "AMD Radeon Graphics",
        "Navi 31 [Radeon RX 7900 XT/7900 XTX]",
        "NVIDIA",
        "24GB",
        "",
    ] {
        assert!(
            matches!(canonical(stranger), Canonical::Unknown { .. }),
            "{stranger}: {:?}",
            canonical(stranger)
        );
    }
}

#[test]
fn memory_is_read_from_the_name() {
    assert_eq!(vram_gib("A100 40 GB"), Some(40));
    assert_eq!(vram_gib("A100"), Some(40), "the smallest, unless stated");
    assert_eq!(vram_gib("Apple M3 Max"), None);
    assert_eq!(vram_gib("Apple M3 Max 64 GB"), Some(64));
    assert_eq!(vram_gib("RTX 9999 48GB"), None, "not in the catalogue");
    for (wrong, unsold) in [
        ("RTX 4090 48GB", 48),
        ("A100 0GB", 0),
        ("M3 Max 4294967295GB", u32::MAX),
    ] {
        assert_eq!(known(wrong).unsold_vram_gib(), Some(unsold), "{wrong}");
    }
    assert_eq!(vram_gib("RTX 4090 48GB"), Some(24));
    assert_eq!(known("A100 80GB").unsold_vram_gib(), None);
    for (name, stated) in [("RTX 9999 48GB", Some(48)), ("RTX 9999 0GB", None)] {
        let Canonical::Unknown {
            stated_vram_gib, ..
        } = canonical(name)
        else {
            panic!("{name} is known");
        };
        assert_eq!(stated_vram_gib, stated, "{name}");
    }
}

#[test]
fn bandwidth_is_that_of_the_version() {
    for (name, vram_gib, gb_s) in [
        ("RTX 4090", None, Some(1008)),
        ("RTX 4090", Some(24), Some(1008)),
        ("A100 80GB", None, Some(1935)),
        ("A100", Some(80), Some(1935)),
        ("A100", None, Some(1555)),
        ("RTX 3060", Some(12), Some(360)),
        ("RTX 3060", Some(7), Some(240)),
        ("Apple M3 Max", None, Some(300)),
        ("Apple M3 Max", Some(64), Some(300)),
        ("RTX 4090 Laptop", None, None),
        ("Voodoo Banshee", Some(1), None),
    ] {
        assert_eq!(bandwidth(name, vram_gib), gb_s, "{name} {vram_gib:?}");
    }
}

#[test]
fn strangers_get_the_nearest_name() {
    assert_eq!(nearest("RTX 4900"), Some("NVIDIA GeForce RTX 4090"));
    assert_eq!(nearest("GeForce RTX 4091"), Some("NVIDIA GeForce RTX 4090"));
    assert_eq!(nearest("L40SS"), Some("NVIDIA L40S"));
    assert_eq!(nearest("Radeon 9700 XT"), Some("AMD Radeon RX 9070 XT"));
    assert_ne!(
        nearest("Tesla M4"),
        Some("Apple M4"),
        "NVIDIA made that one"
    );
    assert_eq!(nearest("Voodoo Banshee"), None);
    assert_eq!(nearest(""), None);
    assert_eq!(canonical("RTX"), canonical("rtx"));
}

#[test]
fn a_name_is_canonical_or_as_written() {
    let name = |text: &str| normalise(text).expect(text);
    assert_eq!(name(" rtx4090 ").model, "NVIDIA GeForce RTX 4090");
    assert_eq!(name("rtx4090").warning(), None);
    assert_eq!(name("  RTX 4900\u{3000}").model, "RTX 4900");
    assert_eq!(
        name("RTX 4900").warning().as_deref(),
        Some("no GPU called \"RTX 4900\" is known; did you mean NVIDIA GeForce RTX 4090?")
    );
    assert_eq!(
        name("Voodoo Banshee").warning().as_deref(),
        Some("no GPU called \"Voodoo Banshee\" is known")
    );
    assert_eq!(normalise(" \t"), Err(GpuNameError::Empty));
    assert_eq!(
        normalise(" é\u{7}x"),
        Err(GpuNameError::Control {
            found: '\u{7}',
            offset: 2
        })
    );
    assert!(normalise(&"é".repeat(64)).is_ok());
    assert_eq!(normalise(&"é".repeat(65)), Err(GpuNameError::TooLong(65)));
}

#[test]
fn short_names_drop_maker_and_family() {
    for (model, short) in [
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA H100", "H100"),
        ("AMD Radeon RX 7900 XTX", "RX 7900 XTX"),
        ("AMD Instinct MI300X", "MI300X"),
        ("Intel Arc A770", "Arc A770"),
        ("Apple M3 Max", "Apple M3 Max"),
        ("Something else", "Something else"),
    ] {
        assert_eq!(short_name(model), short);
    }
}

/// Names that are nearly known.
fn nearly() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "NVIDIA", "GeForce", "Tesla", "RTX", "AMD", "Radeon", "RX", "Instinct", "Apple", "M4",
            "Max", "Intel(R)", "Arc", "4090", "A100", "H100", "GH200", "7900", "XTX", "Laptop",
            "GPU", "PCIe", "80GB", "480", "GB", "24g", "é", "\u{3000}", "İ",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,3}",
    ];
    (
        prop::collection::vec(word, 0..7),
        prop::sample::select(vec!["", " ", "-"]),
    )
        .prop_map(|(words, between)| words.join(between))
}

proptest! {
    #[test]
    fn reading_a_name_again_changes_nothing(name in prop_oneof![any::<String>(), nearly()]) {
        let Ok(once) = normalise(&name) else { return Ok(()) };
        prop_assert_eq!(normalise(&once.model).map(|twice| twice.model), Ok(once.model));
    }

    #[test]
    fn unknown_names_stay_as_they_are(name in prop_oneof![any::<String>(), nearly()]) {
        let _ = bandwidth(&name, vram_gib(&name));
        if let Canonical::Known(known) = canonical(&name) {
            prop_assert!(CATALOGUE.entries.iter().any(|entry| entry.model == known.model));
            return Ok(());
        }
        let kept = name.trim();
        let fits = !kept.is_empty()
            && kept.chars().count() <= MAX_NAME_CHARS
            && !kept.chars().any(char::is_control);
        let model = normalise(&name).map(|name| name.model).ok();
        prop_assert_eq!(model.as_deref(), fits.then_some(kept));
    }
}
