//! Bounds of the contract, checked before anything is asked of the engine.

use std::time::Duration;

use aitbc_common::agents::ExecutionInput;
use aitbc_common::genesis::SUPPLY_BOUND;
use aitbc_common::hash::{Hash, sha256};
use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{JobId, ListingId, MinerId, RentalId};
use aitbc_common::job_input::{InputError, JobInput, JobType, check_auditable};
use aitbc_common::layouts::{AUDIT_ALLOWED, Acknowledgement, JobSpec, NO_MAX_RATE, Requirements};
use aitbc_common::limits;
use aitbc_common::names::canonical_model;
use aitbc_common::runtime::status::ApiError;
use aitbc_proto::v1::{self, ErrorReason};
use bytes::Bytes;
use prost::Message;

use super::job_ids::new_job_id;
use crate::engine::command::{JobSelector, ModelKey, Submission};

/// Highest price in micro-AIT per hour and slot: a million AIT.
pub const MAX_PRICE: u64 = 1_000_000_000_000;
/// Most micro-AIT that can be locked: all there is.
const MAX_LOCKED: u64 = SUPPLY_BOUND - 1;
/// Rows of a page, at most.
pub const MAX_PAGE: u32 = 1_000;

/// An acknowledgement's time differs by at most this much from the coordinator's: a day.
const ACKNOWLEDGED_WITHIN_MS: u64 = 24 * 3_600_000;

fn refuse(field: &str, problem: impl Into<String>) -> ApiError {
    ApiError::field(field, problem)
}

/// A job id, or "last".
pub fn job_selector(job_id: &str) -> Result<JobSelector, ApiError> {
    if job_id == "last" {
        return Ok(JobSelector::Last);
    }
    let id = job_id
        .parse::<JobId>()
        .map_err(|error| refuse("job_id", format!("{error}; {}", error.hint())))?;
    Ok(JobSelector::Id(id))
}

/// What the caller says of a receipt: of this chain, by the caller, signed, and of about now.
pub fn acknowledgement(
    request: &v1::AcknowledgeResultRequest,
    caller: PublicKey,
    chain_id: &Hash,
    now_ms: u64,
) -> Result<(Acknowledgement, [u8; 64]), ApiError> {
    const FIELD: &str = "acknowledgement";
    let acknowledgement = Acknowledgement::decode(&request.acknowledgement)
        .map_err(|error| refuse(FIELD, error.to_string()))?;
    if acknowledgement.chain_id != *chain_id {
        return Err(refuse(FIELD, "is for another network"));
    }
    if acknowledgement.owner != caller {
        return Err(refuse(FIELD, "names another owner than the caller"));
    }
    if acknowledgement.time_ms.abs_diff(now_ms) > ACKNOWLEDGED_WITHIN_MS {
        return Err(refuse(FIELD, "is of a time more than a day from now"));
    }
    let signature = <[u8; 64]>::try_from(&request.signature[..])
        .ok()
        .filter(|signature| acknowledgement.verify(signature))
        .ok_or_else(|| refuse("signature", "is not the caller's over the acknowledgement"))?;
    Ok((acknowledgement, signature))
}

/// A job id and an attempt.
pub fn attempt(job_id: &str, attempt: u32) -> Result<crate::engine::command::AttemptId, ApiError> {
    let job_id = job_id
        .parse::<JobId>()
        .map_err(|error| refuse("job_id", format!("{error}; {}", error.hint())))?;
    let attempt = u16::try_from(attempt).ok().filter(|attempt| *attempt > 0);
    let attempt = attempt.ok_or_else(|| {
        refuse(
            "attempt",
            "takes the number that the assignment gave, from 1",
        )
    })?;
    Ok(crate::engine::command::AttemptId { job_id, attempt })
}

/// A miner id.
pub fn miner_id(text: &str) -> Result<MinerId, ApiError> {
    text.parse::<MinerId>()
        .map_err(|error| refuse("miner_id", format!("{error}; {}", error.hint())))
}

/// A listing id.
pub fn listing_id(text: &str) -> Result<ListingId, ApiError> {
    text.parse::<ListingId>()
        .map_err(|error| refuse("listing_id", format!("{error}; {}", error.hint())))
}

/// A rental id.
pub fn rental_id(text: &str) -> Result<RentalId, ApiError> {
    text.parse::<RentalId>()
        .map_err(|error| refuse("rental_id", format!("{error}; {}", error.hint())))
}

/// A page's size, with its default.
pub fn page_size(given: u32, default: u32) -> Result<usize, ApiError> {
    match given {
        0 => Ok(default as usize),
        1..=MAX_PAGE => Ok(given as usize),
        _ => Err(refuse(
            "page_size",
            format!("is {given}, takes 1 to {MAX_PAGE}"),
        )),
    }
}

/// The fields that an update names: one at least.
pub fn mask_paths(mask: Option<prost_types::FieldMask>) -> Result<Vec<String>, ApiError> {
    let paths = mask.map(|mask| mask.paths).unwrap_or_default();
    if paths.is_empty() {
        return Err(ApiError::field(
            "update_mask",
            "names no field: say which to change",
        ));
    }
    Ok(paths)
}

/// A page token that was not given out.
#[must_use]
pub fn bad_page_token() -> ApiError {
    ApiError::new(
        ErrorReason::InvalidPageToken,
        "page_token: not one that this call gave out; begin again without one",
    )
}

/// A page token of ListModels, as [`super::convert::model_token`] makes it.
pub fn model_token(token: &str) -> Result<ModelKey, ApiError> {
    let (digest, name) = token.split_once(':').ok_or_else(bad_page_token)?;
    let digest = hex::decode(digest).map_err(|_| bad_page_token())?;
    Ok((name.to_owned(), digest.into()))
}

/// A request id.
pub fn request_id(id: &str) -> Result<(), ApiError> {
    let length = id.chars().count();
    if length == 0 || length > limits::REQUEST_ID_CHARS {
        return Err(refuse(
            "request_id",
            format!(
                "has {length} characters, takes 1 to {}",
                limits::REQUEST_ID_CHARS
            ),
        ));
    }
    if id.chars().any(char::is_control) {
        return Err(refuse("request_id", "has a control character"));
    }
    Ok(())
}

/// Text of at most `max` bytes without control characters.
pub fn short_text(field: &str, text: String, max: usize) -> Result<String, ApiError> {
    if text.len() > max {
        return Err(refuse(
            field,
            format!("has {} bytes, takes at most {max}", text.len()),
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(refuse(field, "has a control character"));
    }
    Ok(text)
}

fn hash_or_zero(field: &str, bytes: &[u8]) -> Result<Hash, ApiError> {
    match bytes.len() {
        0 => Ok([0; 32]),
        32 => Ok(bytes.try_into().unwrap_or_default()),
        given => Err(refuse(
            field,
            format!("has {given} bytes, takes 32 or none"),
        )),
    }
}

/// A duration in ms within bounds, with its default where it is unset.
pub fn duration_ms(
    field: &str,
    given: Option<prost_types::Duration>,
    default: u64,
    bounds: (u64, u64),
) -> Result<u64, ApiError> {
    let Some(given) = given else {
        return Ok(default);
    };
    let takes = format!(
        "takes {} to {} s, in whole milliseconds",
        bounds.0 as f64 / 1e3,
        bounds.1 as f64 / 1e3
    );
    let given = Duration::try_from(given)
        .map_err(|_| refuse(field, format!("is negative or malformed; {takes}")))?;
    let ms = u64::try_from(given.as_millis()).unwrap_or(u64::MAX);
    if given.subsec_nanos() % 1_000_000 != 0 || ms < bounds.0 || ms > bounds.1 {
        return Err(refuse(
            field,
            format!("is {} s; {takes}", given.as_secs_f64()),
        ));
    }
    Ok(ms)
}

/// A specification that was checked.
#[derive(Debug, Clone)]
pub struct CheckedSpec {
    /// The layout.
    pub spec: JobSpec,
    /// Canonical model name.
    pub model: String,
    /// What it asks of miners.
    pub requirements: Requirements,
    /// The input document.
    pub input: Bytes,
    /// The most tokens that it lets a miner generate; `None` where it sets no bound, or is empty.
    pub output_tokens: Option<u64>,
}

/// Checks a specification; without `salted` its salt may be empty.
pub fn spec(
    given: v1::JobSpec,
    owner: PublicKey,
    chain_id: Hash,
    salted: bool,
) -> Result<CheckedSpec, ApiError> {
    let job_type = match given.r#type() {
        v1::JobType::Inference => JobType::Inference,
        v1::JobType::Embedding => JobType::Embedding,
        v1::JobType::Agent => JobType::Agent,
        v1::JobType::Unspecified => {
            return Err(refuse("spec.type", "takes inference, embedding or agent"));
        }
    };
    let model = canonical_model(&given.model)
        .map_err(|error| refuse("spec.model", format!("{error}; {}", error.hint())))?;
    let requirements = requirements(given.requirements.as_ref())?;
    if given.input.len() > limits::INPUT_BYTES {
        let message = format!(
            "spec.input: has {} bytes, at most {} (3 MiB) are allowed",
            given.input.len(),
            limits::INPUT_BYTES
        );
        return Err(ApiError::new(ErrorReason::TooLarge, message));
    }
    let output_tokens = if salted || !given.input.is_empty() {
        most_output_tokens(job_type, &given.input, given.allow_audit)?
    } else {
        None
    };
    let max_rate = match given.max_price_per_hour_micro_ait {
        None => NO_MAX_RATE,
        Some(price) if price <= MAX_PRICE => price,
        Some(price) => {
            let problem =
                format!("is {price} micro-AIT, takes at most {MAX_PRICE} (1,000,000 AIT)");
            return Err(refuse("spec.max_price_per_hour_micro_ait", problem));
        }
    };
    let bounds = (limits::MIN_TIMEOUT_MS, limits::MAX_TIMEOUT_MS);
    let spec = JobSpec {
        job_type,
        flags: u16::from(given.allow_audit) * AUDIT_ALLOWED,
        chain_id,
        owner,
        salt: salt(&given.salt, salted)?,
        model_name_hash: sha256(model.as_bytes()),
        model_digest: hash_or_zero("spec.model_digest", &given.model_digest)?,
        input_len: given.input.len() as u64,
        input_hash: sha256(&given.input),
        requirements_hash: requirements.hash(),
        max_rate,
        deadline_ms: duration_ms(
            "spec.timeout",
            given.timeout,
            limits::DEFAULT_TIMEOUT_MS,
            bounds,
        )?,
    };
    Ok(CheckedSpec {
        spec,
        model,
        requirements,
        input: given.input,
        output_tokens,
    })
}

fn salt(given: &[u8], needed: bool) -> Result<Hash, ApiError> {
    match given.len() {
        32 => Ok(given.try_into().unwrap_or_default()),
        0 if !needed => Ok([0; 32]),
        length => Err(refuse(
            "spec.salt",
            format!("has {length} bytes, takes 32 random ones"),
        )),
    }
}

/// Checks an input; the most tokens that it lets a miner generate, where it sets a bound.
fn most_output_tokens(
    job_type: JobType,
    bytes: &[u8],
    audited: bool,
) -> Result<Option<u64>, ApiError> {
    if job_type == JobType::Agent {
        ExecutionInput::read(bytes).map_err(bad_input)?;
        if audited {
            let problem = "is for inference jobs: no two runs of an agent are alike";
            return Err(refuse("spec.allow_audit", problem));
        }
        return Ok(None);
    }
    let input = JobInput::parse(job_type, bytes).map_err(bad_input)?;
    if audited {
        check_auditable(&input).map_err(bad_input)?;
    }
    Ok(input.most_output_tokens())
}

pub(super) fn bad_input(error: InputError) -> ApiError {
    let field = error.field.as_ref().map_or_else(
        || "spec.input".to_owned(),
        |path| format!("spec.input.{path}"),
    );
    let mut refusal = ApiError::new(
        ErrorReason::InvalidInput,
        format!("{}; {}", error.message, error.hint),
    );
    refusal.fields.push((field, error.message));
    refusal
}

fn requirements(given: Option<&v1::Requirements>) -> Result<Requirements, ApiError> {
    let Some(given) = given else {
        return Ok(Requirements::default());
    };
    if given.min_vram_gib > limits::MAX_VRAM_GIB {
        let problem = format!(
            "is {}, takes 0 to {}",
            given.min_vram_gib,
            limits::MAX_VRAM_GIB
        );
        return Err(refuse("spec.requirements.min_vram_gib", problem));
    }
    let miner = given.miner_id.as_deref().map(|id| {
        let wrong = |error: aitbc_common::ids::IdError| {
            refuse(
                "spec.requirements.miner_id",
                format!("{error}; {}", error.hint()),
            )
        };
        id.parse::<MinerId>().map_err(wrong)
    });
    if given.min_reputation_ppm > 1_000_000 {
        let problem = format!("is {}, takes 0 to 1,000,000", given.min_reputation_ppm);
        return Err(refuse("spec.requirements.min_reputation_ppm", problem));
    }
    let offer = given.listing_id.as_deref().map(listing_id).transpose()?;
    let rental = given.rental_id.as_deref().map(rental_id).transpose()?;
    if offer.is_some() && rental.is_some() {
        let problem = "names a listing and a rental: one of them says where it runs";
        return Err(refuse("spec.requirements", problem));
    }
    Ok(Requirements {
        min_vram_gib: given.min_vram_gib,
        miner: miner.transpose()?,
        min_reputation_ppm: given.min_reputation_ppm,
        offer,
        rental,
    })
}

/// A whole submission by `owner`, with an id made at `now_ms`.
pub fn submission(
    request: v1::SubmitJobRequest,
    owner: PublicKey,
    chain_id: Hash,
    now_ms: u64,
) -> Result<Submission, ApiError> {
    request_id(&request.request_id)?;
    let body_hash = sha256(&request.encode_to_vec());
    if !(-limits::MAX_PRIORITY..=limits::MAX_PRIORITY).contains(&request.priority) {
        return Err(refuse(
            "priority",
            format!("is {}, takes -100 to 100", request.priority),
        ));
    }
    let max_retries = request.max_retries.unwrap_or(limits::DEFAULT_RETRIES);
    if max_retries > limits::MAX_RETRIES {
        return Err(refuse(
            "max_retries",
            format!("is {max_retries}, takes 0 to {}", limits::MAX_RETRIES),
        ));
    }
    if request.least_funding_micro_ait > MAX_LOCKED {
        let problem = format!(
            "is {} micro-AIT, more than there can be ({})",
            request.least_funding_micro_ait, MAX_LOCKED
        );
        return Err(refuse("least_funding_micro_ait", problem));
    }
    let given = request.spec.ok_or_else(|| refuse("spec", "is missing"))?;
    let CheckedSpec {
        spec,
        model,
        requirements,
        input,
        output_tokens: _,
    } = spec(given, owner, chain_id, true)?;
    Ok(Submission {
        job_id: new_job_id(now_ms, &owner),
        owner,
        request_id: request.request_id,
        body_hash,
        spec,
        model,
        requirements,
        input,
        priority: request.priority,
        max_retries,
        require_miner: request.require_miner,
        retry_of: None,
        hold: request.hold,
        least_funding: request.least_funding_micro_ait,
        not_paid_at: Vec::new(),
        agent: None,
    })
}
