//! What a reader of a page does not see, as far as the element itself says so. Style sheets are not evaluated.

/// Whether an element and all beneath it is out of sight. `attribute` gives the value of one by name.
pub(in crate::ingest) fn hides<'v>(element: &str, attribute: impl Fn(&str) -> Option<&'v str>) -> bool {
    let truth = |value: &str| value.trim().eq_ignore_ascii_case("true");
    attribute("hidden").is_some()
        || attribute("aria-hidden").is_some_and(truth)
        || element == "dialog" && attribute("open").is_none()
        || attribute("style").is_some_and(style_hides)
}

/// Whether an inline style leaves nothing to see: not shown, of no size, without colour, clipped away, or moved off the page.
fn style_hides(style: &str) -> bool {
    let plain = without_comments(style).to_ascii_lowercase();
    plain.split(';').filter_map(|declaration| declaration.split_once(':')).any(|(property, value)| {
        let value: String =
            value.trim().trim_end_matches("!important").split_whitespace().collect::<Vec<_>>().join(" ");
        match property.trim() {
            "display" => value == "none",
            "visibility" => value == "hidden" || value == "collapse",
            "content-visibility" => value == "hidden",
            "opacity" | "font-size" | "zoom" => is_zero(&value),
            "font" => {
                value.split(['/', ' ']).any(|part| part.ends_with(char::is_alphabetic) && is_zero(part))
            }
            "color" => value == "transparent",
            "clip" => {
                value.replace([' ', ','], "").starts_with("rect(0000")
                    || value.starts_with("rect(0px, 0px, 0px, 0px")
            }
            "clip-path" => value == "inset(50%)" || value == "inset(100%)" || value == "circle(0)",
            "left" | "top" | "right" | "bottom" | "text-indent" | "margin-left" | "margin-top" => {
                is_away(&value)
            }
            "transform" => value == "scale(0)",
            _ => false,
        }
    })
}

fn is_zero(value: &str) -> bool {
    let number = value.trim_end_matches(|char: char| char.is_ascii_alphabetic() || char == '%');
    number.parse::<f64>().is_ok_and(|number| number <= 0.0)
}

/// A thousand pixels and more before the edge.
fn is_away(value: &str) -> bool {
    let (number, scale) = match value.strip_suffix("em") {
        Some(number) => (number.trim_end_matches('r'), 16.0),
        None => (value.trim_end_matches(|char: char| char.is_ascii_alphabetic() || char == '%'), 1.0),
    };
    number.parse::<f64>().is_ok_and(|number| number * scale <= -999.0)
}

fn without_comments(style: &str) -> String {
    let mut out = String::with_capacity(style.len());
    let mut rest = style;
    while let Some((before, comment)) = rest.split_once("/*") {
        out.push_str(before);
        rest = comment.split_once("*/").map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles_that_leave_nothing_to_see() {
        for (style, hidden) in [
            ("display:none", true),
            ("color: red; DISPLAY : None !important", true),
            ("dis/* x */play: none", true),
            ("visibility:hidden", true),
            ("font-size:0", true),
            ("font-size: 0.0px", true),
            ("font: 0px/1 serif", true),
            ("opacity:0", true),
            ("position:absolute;left:-9999px", true),
            ("text-indent: -100em", true),
            ("clip: rect(0 0 0 0)", true),
            ("color: transparent", true),
            ("display:block", false),
            ("font-size:10px", false),
            ("font: 10px/0 serif", false),
            ("opacity:0.5", false),
            ("left:-5px", false),
            ("background: url(display:none)", false),
            ("", false),
        ] {
            assert_eq!(style_hides(style), hidden, "{style}");
        }
    }

    #[test]
    fn attributes_that_hide() {
        for (element, name, value, hidden) in [
            ("p", "hidden", "", true),
            ("p", "aria-hidden", "TRUE", true),
            ("p", "aria-hidden", "false", false),
            ("dialog", "open", "", false),
            ("dialog", "class", "x", true),
            ("p", "class", "hidden", false),
        ] {
            assert_eq!(hides(element, |asked| (asked == name).then_some(value)), hidden, "{element} {name}");
        }
    }
}
