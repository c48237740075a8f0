//! A file a route, and what they share: who may enter a space.

use sync_core::id::SpaceId;

use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;

mod body;
pub(crate) mod health;
pub(crate) mod spaces;
pub(crate) mod sync;
pub(crate) mod version;

/// Lets members pass. A user's personal space comes into being on its first use. What one may not see answers exactly
/// as what does not exist.
async fn enter(app: &App, caller: &Caller, space: SpaceId) -> Result<(), ApiError> {
    if app.store.role(space, &caller.user).await?.is_some() {
        return Ok(());
    }
    if space == SpaceId::personal(&caller.user) {
        return Ok(app.store.ensure_personal(&caller.user).await?);
    }
    Err(ApiError::not_found())
}
