//! A policy's options as the user gives them, and as SHOW prints them back.

use sql_base::SqlError;
use sql_catalog::PlacementSettings;
use sql_parser::PlacementOption;

/// The settings that options add up to, refused when they make no sense together. A later option of a kind wins.
pub fn parse_options(options: &[PlacementOption]) -> Result<PlacementSettings, SqlError> {
    let mut settings = PlacementSettings::default();
    for option in options {
        match option {
            PlacementOption::PrimaryRegion(text) => settings.primary_region = text.clone(),
            PlacementOption::Regions(text) => settings.regions = text.clone(),
            PlacementOption::Schedule(text) => settings.schedule = text.clone(),
            PlacementOption::Followers(count) => settings.followers = *count,
            PlacementOption::Voters(count) => settings.voters = *count,
            PlacementOption::Learners(count) => settings.learners = *count,
            PlacementOption::Constraints(text) => settings.constraints = text.clone(),
            PlacementOption::LeaderConstraints(text) => settings.leader_constraints = text.clone(),
            PlacementOption::FollowerConstraints(text) => settings.follower_constraints = text.clone(),
            PlacementOption::VoterConstraints(text) => settings.voter_constraints = text.clone(),
            PlacementOption::LearnerConstraints(text) => settings.learner_constraints = text.clone(),
            PlacementOption::SurvivalPreferences(text) => settings.survival_preferences = text.clone(),
        }
    }
    // These two build no rule: accepting them would promise a placement that never happens.
    if settings.voters > 0 {
        return Err(SqlError::NotSupported("VOTERS in a placement policy (use FOLLOWERS)".into()));
    }
    if !settings.voter_constraints.is_empty() {
        return Err(SqlError::NotSupported(
            "VOTER_CONSTRAINTS in a placement policy (use FOLLOWER_CONSTRAINTS)".into(),
        ));
    }
    super::rules::rules_of(&settings)?;
    Ok(settings)
}

/// The settings as options, in TiDB's order.
pub fn render(settings: &PlacementSettings) -> String {
    let mut parts = Vec::new();
    let mut text = |key: &str, value: &str| {
        if !value.is_empty() {
            parts.push(format!("{key}=\"{}\"", value.replace('"', "\\\"")));
        }
    };
    text("PRIMARY_REGION", &settings.primary_region);
    text("REGIONS", &settings.regions);
    text("SCHEDULE", &settings.schedule);
    text("CONSTRAINTS", &settings.constraints);
    text("LEADER_CONSTRAINTS", &settings.leader_constraints);
    if settings.voters > 0 {
        parts.push(format!("VOTERS={}", settings.voters));
    }
    let mut text = |key: &str, value: &str| {
        if !value.is_empty() {
            parts.push(format!("{key}=\"{}\"", value.replace('"', "\\\"")));
        }
    };
    text("VOTER_CONSTRAINTS", &settings.voter_constraints);
    if settings.followers > 0 {
        parts.push(format!("FOLLOWERS={}", settings.followers));
    }
    if !settings.follower_constraints.is_empty() {
        parts.push(format!("FOLLOWER_CONSTRAINTS=\"{}\"", settings.follower_constraints.replace('"', "\\\"")));
    }
    if settings.learners > 0 {
        parts.push(format!("LEARNERS={}", settings.learners));
    }
    let mut text = |key: &str, value: &str| {
        if !value.is_empty() {
            parts.push(format!("{key}=\"{}\"", value.replace('"', "\\\"")));
        }
    };
    text("LEARNER_CONSTRAINTS", &settings.learner_constraints);
    text("SURVIVAL_PREFERENCES", &settings.survival_preferences);
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_print_in_tidbs_order_with_quotes_escaped() {
        let settings = PlacementSettings {
            followers: 4,
            primary_region: "eu".into(),
            regions: "eu,us".into(),
            schedule: "EVEN".into(),
            follower_constraints: r#"{"+region=us": 2}"#.into(),
            ..PlacementSettings::default()
        };
        assert_eq!(
            render(&settings),
            r#"PRIMARY_REGION="eu" REGIONS="eu,us" SCHEDULE="EVEN" FOLLOWERS=4 FOLLOWER_CONSTRAINTS="{\"+region=us\": 2}""#
        );
    }

    #[test]
    fn options_that_would_place_nothing_are_refused_by_name() {
        let error = parse_options(&[PlacementOption::Voters(3)]).unwrap_err();
        assert!(error.to_string().contains("VOTERS"), "{error}");
    }
}
