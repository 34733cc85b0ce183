//! One job from settings to outcome.
