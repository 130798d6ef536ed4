//! Topic filters as a person types them. Pure.

use crate::topic::filter_problem;

/// Filters with commas between them.
///
/// # Errors
/// None, or one that MQTT does not allow, and the rule.
pub(super) fn filters(text: &str) -> Result<Vec<String>, String> {
    let filters: Vec<String> =
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    if filters.is_empty() {
        return Err("expected topic filters, such as site/+/sensor/#".to_owned());
    }
    match filters.iter().find_map(|filter| Some((filter, filter_problem(filter)?))) {
        Some((filter, rule)) => Err(format!("\"{filter}\" is no topic filter: {rule}")),
        None => Ok(filters),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_with_commas_and_refused_with_the_rule() {
        assert_eq!(filters(" a/# ,b/+,"), Ok(vec!["a/#".to_owned(), "b/+".to_owned()]));
        assert!(filters(" , ").is_err());
        assert!(filters("a/#/b").is_err_and(|why| why.contains("\"#\" must be alone in the last level")));
    }
}
