//! `sync-server token`: an access token for development.

use std::time::Duration;

use clap::Args;
use sync_core::id::{DeviceId, SpaceId};
use sync_server::Caller;
use sync_server::auth::keys::Keys;
use sync_server::auth::token::Tokens;

use super::place::Place;
use super::{Done, duration, print};

#[derive(Args)]
pub struct Token {
    #[command(flatten)]
    place: Place,
    /// Name of the user
    #[arg(long)]
    user: String,
    /// Id of the device (a UUID), or `new` for one that has none yet
    #[arg(long, value_name = "new|UUID", value_parser = device)]
    device: DeviceChoice,
    /// How long it is valid at most: a number with s, m, h or d. The second `keys rotate` from now ends it earlier
    #[arg(long, default_value = "30d", value_parser = duration)]
    ttl: Duration,
}

#[derive(Clone)]
enum DeviceChoice {
    New,
    Known(DeviceId),
}

fn device(text: &str) -> Result<DeviceChoice, String> {
    if text == "new" {
        return Ok(DeviceChoice::New);
    }
    text.parse().map(DeviceChoice::Known).map_err(|_| "must be `new` or a UUID".to_owned())
}

pub fn token(arguments: &Token) -> Done {
    let config = arguments.place.config()?;
    let device = match arguments.device {
        DeviceChoice::Known(device) => device,
        DeviceChoice::New => {
            let mut random = [0; 16];
            getrandom::fill(&mut random)?;
            DeviceId::from_random(random)
        }
    };
    let tokens = Tokens::new(Keys::open(config.keys_folder())?.signing, &config.token);
    let caller = Caller { user: arguments.user.clone(), device };
    let token = tokens.issue(&caller, arguments.ttl)?;
    eprintln!("user           {}", caller.user);
    eprintln!("device         {device}");
    eprintln!("personal space {}", SpaceId::personal(&caller.user));
    eprintln!("valid for      {} s, but not beyond the second `keys rotate`", arguments.ttl.as_secs());
    print(&format!("{token}\n"))
}
