//! What the coordinator lists of an address' transactions: which there are is its word.

use aitbc_common::address::Address;
use aitbc_common::runtime::channel::Connection;
use aitbc_common::runtime::errors::CommandError;
use aitbc_proto::v1::{ListTransactionsRequest, ListTransactionsResponse};

use crate::retries::with_retries;

/// One page, newest first.
pub async fn listed(
    connection: &Connection,
    address: Address,
    page_size: u32,
    page_token: String,
) -> Result<ListTransactionsResponse, CommandError> {
    let request = ListTransactionsRequest {
        address: address.0.to_vec().into(),
        page_size,
        page_token,
    };
    with_retries(
        connection.ledger(),
        request,
        |mut ledger, request| async move { ledger.list_transactions(request).await },
    )
    .await
}
