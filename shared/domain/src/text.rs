//! Text from outside, made safe to show: names come from tenants, and alerts and tables go to people's terminals and mail.

/// Whether a character does not show as itself: it could forge a line, steer a terminal or reorder what stands around it.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}' | '\u{E0000}'..='\u{E007F}')
}

/// The text with every hidden character written as an escape.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) { plain.extend(c.escape_unicode()) } else { plain.push(c) }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_show_and_all_others_stay() {
        assert_eq!(plain("a\n\u{1b}[2J\u{202E}b"), "a\\u{a}\\u{1b}[2J\\u{202e}b");
        let shown = "Größe 家 🦀 e\u{301} \\ \"";
        assert_eq!(plain(shown), shown);
    }
}
