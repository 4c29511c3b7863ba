//! MarketplaceService, honest and not.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use aitbc_proto::v1::marketplace_service_client::MarketplaceServiceClient;
use aitbc_proto::v1::marketplace_service_server::MarketplaceService;
use aitbc_proto::v1::*;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::{Lie, MESSAGE_BYTES, Shared, pass_on};

pub(super) struct Market {
    pub channel: Channel,
    pub shared: Arc<Mutex<Shared>>,
}

impl Market {
    fn client(&self) -> MarketplaceServiceClient<Channel> {
        MarketplaceServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl MarketplaceService for Market {
    pass_on! {
        create_listing(CreateListingRequest) -> CreateListingResponse;
        get_listing(GetListingRequest) -> GetListingResponse;
        list_my_listings(ListMyListingsRequest) -> ListMyListingsResponse;
        update_listing(UpdateListingRequest) -> UpdateListingResponse;
        withdraw_listing(WithdrawListingRequest) -> WithdrawListingResponse;
        list_offers(ListOffersRequest) -> ListOffersResponse;
        rent(RentRequest) -> RentResponse;
        extend_rental(ExtendRentalRequest) -> ExtendRentalResponse;
        release(ReleaseRequest) -> ReleaseResponse;
        get_rental(GetRentalRequest) -> GetRentalResponse;
        list_rentals(ListRentalsRequest) -> ListRentalsResponse;
        get_pricing(GetPricingRequest) -> GetPricingResponse;
    }

    async fn get_reputation(
        &self,
        request: Request<GetReputationRequest>,
    ) -> Result<Response<GetReputationResponse>, Status> {
        let mut answer = self.client().get_reputation(request).await?;
        let lie = self
            .shared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .lie;
        let told = answer.get_mut();
        match lie {
            // A reputation that follows from its terms, and the terms from nothing.
            Lie::ReputationOverstated => {
                (told.reputation_ppm, told.success, told.fault) = (900_653, 24_000, 0);
            }
            Lie::ReputationPostdated => {
                (told.reputation_ppm, told.success, told.fault) = (900_653, 24_000, 0);
                told.log_size += 1_000;
            }
            _ => {}
        }
        Ok(answer)
    }
}
