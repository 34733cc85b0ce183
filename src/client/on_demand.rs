//! What a person at the machine wants of the server.

use super::{Client, Error, json, random_key, request, understood};
use crate::http::{Request, Secret};
use crate::protocol::{
    IDEMPOTENCY_KEY, ImageChoices, JobSummary, KnownMachine, Login, LoginAnswer, OnDemandRequest,
    Registration,
};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderName};
use serde::Serialize;
use serde::de::DeserializeOwned;

impl Client {
    /// The images that may be chosen here.
    ///
    /// # Errors
    /// Where the server cannot be reached, or does not show them to whoever is here.
    pub fn images(&mut self) -> Result<ImageChoices, Error> {
        let asked = || Ok(request(Method::GET, "images", "asking for the images"));
        understood(&asked()?, self.answer_in_session(&asked)?)
    }

    /// Registers this machine.
    ///
    /// # Errors
    /// Where the name is taken, or registration takes somebody who logged in.
    pub fn register(&mut self, name: &str) -> Result<KnownMachine, Error> {
        let body = Registration { name: name.to_owned() };
        self.post("machines", &format!("registering this machine as {name}"), &body)
    }

    /// Logs a person in. From now on it is this person who asks.
    ///
    /// # Errors
    /// Where name or password are wrong, or were wrong too often.
    pub fn login(&mut self, user: &str, password: &Secret) -> Result<LoginAnswer, Error> {
        let body = Login { user: user.to_owned(), password: password.reveal().to_owned() };
        let answer: LoginAnswer = self.post("login", &format!("logging in as {user}"), &body)?;
        self.token = Some(Secret::new(&answer.token));
        Ok(answer)
    }

    /// Has the server make a job for this machine.
    ///
    /// # Errors
    /// Where that is not allowed here, or the image cannot be used.
    pub fn wish(&mut self, wanted: &OnDemandRequest) -> Result<JobSummary, Error> {
        self.post("jobs", &format!("asking for a job to {} {}", wanted.operation, wanted.image), wanted)
    }

    /// Takes a job back that was not claimed.
    ///
    /// # Errors
    /// [`Error::Gone`] where it has ended already.
    pub fn withdraw(&mut self, job: u64) -> Result<(), Error> {
        let asked = || Ok(request(Method::DELETE, &format!("jobs/{job}"), &format!("taking job {job} back")));
        super::succeeded(&asked()?, self.answer_in_session(&asked)?).map(drop)
    }

    /// Sends something that is done once, however often it is sent.
    fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        doing: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let (body, key) = (json(body)?, random_key()?);
        let asked = || -> Result<Request<'_>, Error> {
            let asked = request(Method::POST, path, doing).body(&body);
            let asked = asked.header(CONTENT_TYPE, "application/json")?;
            Ok(asked.header(HeaderName::from_static(IDEMPOTENCY_KEY), &key)?)
        };
        understood(&asked()?, self.answer_in_session(&asked)?)
    }
}
