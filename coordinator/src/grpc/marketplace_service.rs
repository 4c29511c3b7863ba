//! MarketplaceService.

use std::sync::Arc;

use aitbc_common::ids::{ListingId, shard_of};
use aitbc_common::runtime::random_bytes;
use aitbc_common::runtime::status::ApiError;
use aitbc_common::token::Scope;
use aitbc_proto::v1::marketplace_service_server::MarketplaceService;
use aitbc_proto::v1::{self, ErrorReason};
use tonic::{Request, Response, Status};

use super::{Services, offers, unexpected, validate, validate_listing};
use crate::engine::command::{Command, Reply};

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
        validate_listing::warning(ErrorReason::GpuNotDetected, message)
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

    async fn list_offers(
        &self,
        request: Request<v1::ListOffersRequest>,
    ) -> Result<Response<v1::ListOffersResponse>, Status> {
        Ok(Response::new(self.list(&request)?))
    }
}
