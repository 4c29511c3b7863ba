//! MarketplaceService.

use std::sync::Arc;

use aitbc_common::identity::PublicKey;
use aitbc_common::ids::{ListingId, MinerId, shard_of};
use aitbc_common::runtime::random_bytes;
use aitbc_common::runtime::status::ApiError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::get_reputation_request::Provider;
use aitbc_proto::v1::marketplace_service_server::MarketplaceService;
use aitbc_proto::v1::{self, ErrorReason};
use tonic::{Request, Response, Status};

use super::rentals::{self, Wanted};
use super::{Services, market_figures, offers, unexpected, validate, validate_listing};
use crate::auth::address_of;
use crate::engine::command::{Command, Reply};
use crate::sessions::stored::blocking;

/// Answers MarketplaceService.
#[derive(Clone)]
pub struct Market(pub Arc<Services>);

impl Market {
    async fn create(
        &self,
        request: Request<v1::CreateListingRequest>,
    ) -> Result<v1::CreateListingResponse, ApiError> {
        let provider = self.0.caller(&request, Scope::Miner)?;
        let now = self.0.context.engine.now_ms();
        let new_id = ListingId::new(now, shard_of(&provider), random_bytes());
        let (new, mut warnings) = validate_listing::new_listing(request.get_ref(), new_id)?;
        let new = Box::new(new);
        match self
            .0
            .call(Command::CreateListing { provider, new })
            .await?
        {
            Reply::Listed {
                id,
                created,
                previous_rate,
            } => {
                let offer = self.offer(id)?;
                warnings.extend(declared(&offer));
                Ok(v1::CreateListingResponse {
                    offer: Some(offer),
                    created,
                    previous_hourly_rate_micro_ait: previous_rate,
                    warnings,
                })
            }
            _ => Err(unexpected()),
        }
    }

    async fn update(
        &self,
        request: Request<v1::UpdateListingRequest>,
    ) -> Result<v1::UpdateListingResponse, ApiError> {
        let provider = self.0.caller(&request, Scope::Miner)?;
        let (id, change) = validate_listing::change(request.into_inner())?;
        let command = Command::UpdateListing {
            provider,
            id,
            change,
        };
        match self.0.call(command).await? {
            Reply::Listed { id, .. } => Ok(v1::UpdateListingResponse {
                offer: Some(self.offer(id)?),
            }),
            _ => Err(unexpected()),
        }
    }

    async fn withdraw(
        &self,
        request: Request<v1::WithdrawListingRequest>,
    ) -> Result<v1::WithdrawListingResponse, ApiError> {
        let provider = self.0.caller(&request, Scope::Miner)?;
        let id = validate::listing_id(&request.get_ref().listing_id)?;
        self.0
            .call(Command::WithdrawListing { provider, id })
            .await?;
        Ok(v1::WithdrawListingResponse {
            listing_id: id.to_string(),
        })
    }

    fn my_listings(
        &self,
        request: &Request<v1::ListMyListingsRequest>,
    ) -> Result<v1::ListMyListingsResponse, ApiError> {
        let provider = self.0.caller(request, Scope::Miner)?;
        let own = self.0.context.hub.board.offers().of(&provider);
        let offers = own
            .iter()
            .map(|(listing, known)| offers::offer(listing, known));
        Ok(v1::ListMyListingsResponse {
            offers: offers.collect(),
        })
    }

    fn get(
        &self,
        request: &Request<v1::GetListingRequest>,
    ) -> Result<v1::GetListingResponse, ApiError> {
        self.0.authenticator.public(request)?;
        let id = validate::listing_id(&request.get_ref().listing_id)?;
        Ok(v1::GetListingResponse {
            offer: Some(self.offer(id)?),
        })
    }

    fn list(
        &self,
        request: &Request<v1::ListOffersRequest>,
    ) -> Result<v1::ListOffersResponse, ApiError> {
        self.0.authenticator.public(request)?;
        let request = request.get_ref();
        let limit = validate::page_size(request.page_size, 50)?;
        let (filter, sort, warning) = validate_listing::search(request)?;
        let after = offers::place(request)?;
        let page = self
            .0
            .context
            .hub
            .board
            .offers()
            .page(&filter, sort, after, limit);
        let found = page.offers.iter();
        Ok(v1::ListOffersResponse {
            offers: found
                .map(|(listing, known)| offers::offer(listing, known))
                .collect(),
            next_page_token: page
                .next
                .map_or_else(String::new, |place| offers::token(request, place)),
            warnings: warning.into_iter().collect(),
        })
    }

    async fn pricing(
        &self,
        request: Request<v1::GetPricingRequest>,
    ) -> Result<v1::GetPricingResponse, ApiError> {
        self.0.authenticator.public(&request)?;
        let request = request.into_inner();
        let days = market_figures::window_days(request.window_days)?;
        let mut gpu = validate_listing::gpu(&request.gpu_model)?;
        let warning = gpu.warning.take();
        let services = Arc::clone(&self.0);
        let now = services.context.engine.now_ms();
        // Its time grows with owners and rates.
        let mut found = blocking(move || {
            let board = &services.context.hub.board;
            Ok(market_figures::pricing(
                board,
                &services.book,
                &gpu.name,
                now,
                days,
            ))
        })
        .await?;
        found.warnings.extend(warning);
        Ok(found)
    }

    async fn reputation(
        &self,
        request: Request<v1::GetReputationRequest>,
    ) -> Result<v1::GetReputationResponse, ApiError> {
        self.0.authenticator.public(&request)?;
        let request = request.into_inner();
        let miner = match request.provider {
            Some(Provider::MinerKey(key)) => {
                let length = key.len();
                let key = key.as_ref().try_into().map_err(|_| {
                    ApiError::field("miner_key", format!("has {length} bytes, takes 32"))
                })?;
                PublicKey(key)
            }
            Some(Provider::MinerId(id)) => self.key_of(validate::miner_id(&id)?).await?,
            None => return Err(ApiError::field("provider", "is missing: name a miner")),
        };
        let services = Arc::clone(&self.0);
        let now = services.context.engine.now_ms();
        blocking(move || {
            let store = services.ledger.store();
            market_figures::reputation(&store, &services.book, miner, now, request.explain)
        })
        .await
    }

    async fn key_of(&self, id: MinerId) -> Result<PublicKey, ApiError> {
        let command = Command::GetMiner {
            miner_id: Some(id),
            caller: PublicKey::default(),
        };
        match self.0.call(command).await? {
            Reply::Miner(miner) => {
                let key = miner.public_key.as_ref().try_into();
                key.map(PublicKey).map_err(|_| unexpected())
            }
            _ => Err(unexpected()),
        }
    }

    async fn rent_listing(
        &self,
        request: Request<v1::RentRequest>,
    ) -> Result<v1::RentResponse, ApiError> {
        let renter = self.0.caller(&request, Scope::Client)?;
        let from = address_of(&request);
        let request = request.into_inner();
        let listing = validate::listing_id(&request.listing_id)?;
        let wanted = Wanted {
            transaction: request.transaction,
            salt: request.salt,
            term: request.term,
            rate: request.hourly_rate_micro_ait,
        };
        let (rental, index) = rentals::rent(&self.0, renter, listing, None, wanted, from).await?;
        Ok(v1::RentResponse {
            rental: Some(rental),
            index,
        })
    }

    async fn extend(
        &self,
        request: Request<v1::ExtendRentalRequest>,
    ) -> Result<v1::ExtendRentalResponse, ApiError> {
        let renter = self.0.caller(&request, Scope::Client)?;
        let from = address_of(&request);
        let request = request.into_inner();
        let id = validate::rental_id(&request.rental_id)?;
        let known = rentals::get(&self.0, renter, id).await?;
        let listing = validate::listing_id(&known.listing_id)?;
        let wanted = Wanted {
            transaction: request.transaction,
            salt: request.salt,
            term: request.term,
            rate: request.hourly_rate_micro_ait,
        };
        let (rental, index) =
            rentals::rent(&self.0, renter, listing, Some(id), wanted, from).await?;
        Ok(v1::ExtendRentalResponse {
            rental: Some(rental),
            index,
        })
    }

    fn offer(&self, id: ListingId) -> Result<v1::Offer, ApiError> {
        let found = self.0.context.hub.board.offers().get(id);
        let (listing, known) = found.ok_or_else(|| {
            let message = format!("no listing {id}; it may have been withdrawn");
            ApiError::new(ErrorReason::ListingNotFound, message)
        })?;
        Ok(offers::offer(&listing, &known))
    }
}

/// That no machine has reported what is listed.
fn declared(offer: &v1::Offer) -> Option<v1::Warning> {
    let listing = offer.listing.as_ref()?;
    (listing.source() == v1::GpuSource::Declared).then(|| {
        let message = "the GPU is declared; none was detected there".to_owned();
        validate_listing::warning_of(ErrorReason::GpuNotDetected, message)
    })
}

#[tonic::async_trait]
impl MarketplaceService for Market {
    async fn create_listing(
        &self,
        request: Request<v1::CreateListingRequest>,
    ) -> Result<Response<v1::CreateListingResponse>, Status> {
        Ok(Response::new(self.create(request).await?))
    }

    async fn get_listing(
        &self,
        request: Request<v1::GetListingRequest>,
    ) -> Result<Response<v1::GetListingResponse>, Status> {
        Ok(Response::new(self.get(&request)?))
    }

    async fn list_my_listings(
        &self,
        request: Request<v1::ListMyListingsRequest>,
    ) -> Result<Response<v1::ListMyListingsResponse>, Status> {
        Ok(Response::new(self.my_listings(&request)?))
    }

    async fn update_listing(
        &self,
        request: Request<v1::UpdateListingRequest>,
    ) -> Result<Response<v1::UpdateListingResponse>, Status> {
        Ok(Response::new(self.update(request).await?))
    }

    async fn withdraw_listing(
        &self,
        request: Request<v1::WithdrawListingRequest>,
    ) -> Result<Response<v1::WithdrawListingResponse>, Status> {
        Ok(Response::new(self.withdraw(request).await?))
    }

    async fn rent(
        &self,
        request: Request<v1::RentRequest>,
    ) -> Result<Response<v1::RentResponse>, Status> {
        Ok(Response::new(self.rent_listing(request).await?))
    }

    async fn extend_rental(
        &self,
        request: Request<v1::ExtendRentalRequest>,
    ) -> Result<Response<v1::ExtendRentalResponse>, Status> {
        Ok(Response::new(self.extend(request).await?))
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::ReleaseResponse>, Status> {
        let renter = self.0.caller(&request, Scope::Client)?;
        let id = validate::rental_id(&request.get_ref().rental_id)?;
        let rental = Some(rentals::release(&self.0, renter, id).await?);
        Ok(Response::new(v1::ReleaseResponse { rental }))
    }

    async fn get_rental(
        &self,
        request: Request<v1::GetRentalRequest>,
    ) -> Result<Response<v1::GetRentalResponse>, Status> {
        let caller = self.0.caller(&request, Scope::Read)?;
        let id = validate::rental_id(&request.get_ref().rental_id)?;
        let rental = Some(rentals::get(&self.0, caller, id).await?);
        Ok(Response::new(v1::GetRentalResponse { rental }))
    }

    async fn list_rentals(
        &self,
        request: Request<v1::ListRentalsRequest>,
    ) -> Result<Response<v1::ListRentalsResponse>, Status> {
        let caller = self.0.caller(&request, Scope::Read)?;
        let page = rentals::list(&self.0, caller, request.get_ref()).await?;
        Ok(Response::new(page))
    }

    async fn get_pricing(
        &self,
        request: Request<v1::GetPricingRequest>,
    ) -> Result<Response<v1::GetPricingResponse>, Status> {
        Ok(Response::new(self.pricing(request).await?))
    }

    async fn get_reputation(
        &self,
        request: Request<v1::GetReputationRequest>,
    ) -> Result<Response<v1::GetReputationResponse>, Status> {
        Ok(Response::new(self.reputation(request).await?))
    }

    async fn list_offers(
        &self,
        request: Request<v1::ListOffersRequest>,
    ) -> Result<Response<v1::ListOffersResponse>, Status> {
        Ok(Response::new(self.list(&request)?))
    }
}
