//! Orders in prose: to forget rules, to destroy, to give secrets away, to open doors, on somebody's supposed authority.
//!
//! A detector by its nature: it knows families of English phrases, and whoever words an order otherwise is not seen. What
//! it misses and what it takes for an order wrongly is measured in `tests/red_team.rs`.

use super::words::{Set, Step, before, found, is, says, words};

/// Whether the text orders what an agent must not do on a text's word.
pub(super) fn in_text(text: &str) -> bool {
    let words = words(text);
    // Shorter texts name things; an order needs a verb and an object.
    1 < words.len()
        && (overrides_rules(&words)
            || plays_a_role(&words)
            || destroys(&words)
            || gives_secrets_away(&words)
            || lowers_defences(&words)
            || raises_privileges(&words)
            || sends_data_away(&words)
            || harms_systems(&words)
            || hides(&words)
            || addresses_a_model(&words)
            || claims_authority(&words))
}

const RULES: Set = "instruction* rule rules guideline* prompt prompts restriction* policy policies safety safeguard* \
    guardrail* constraint* directive* limitation* protocol* programming training governance moderation \
    ethics orders filters permissions checks controls";

fn overrides_rules(words: &[String]) -> bool {
    const FORGET: Set = "ignore ignoring disregard* forget neglect dismiss abandon unlearn";
    const BYPASS: Set = "bypass* circumvent* overrid* evade sidestep* violate violating";
    const BREAK: Set = "skip drop break suspend discard delete erase reset lift";
    const OWN: Set = "previous prior above earlier preceding your all any initial original system";
    const DEFENCES: Set = "security authentication authorization authorisation approval* validation verification confirmation \
        access filter control check review sandbox* paywall login auth monitoring";
    let direct = |place: usize| !is(before(words, place), NEGATIONS);
    found(words, FORGET, &[Step(4, RULES)], direct)
        || found(
            words,
            FORGET,
            &[
                Step(3, "everything all anything what"),
                Step(3, "told said above before learned know previously"),
            ],
            direct,
        )
        || found(words, BYPASS, &[Step(4, RULES)], direct)
        || found(words, BYPASS, &[Step(3, DEFENCES)], direct)
        || found(words, BREAK, &[Step(2, OWN), Step(2, RULES)], direct)
        || found(words, FORGET, &[Step(2, OWN), Step(2, "context conversation commands input")], direct)
        || found(words, "stop quit cease", &[Step(0, "following obeying applying"), Step(5, RULES)], direct)
        || found(
            words,
            "repeat recite output print reproduce",
            &[Step(4, "text everything words content instructions message"), Step(1, "above")],
            direct,
        )
        || found(
            words,
            "no",
            &[
                Step(1, "restrictions rules filters limits limitations guidelines"),
                Step(2, "apply anymore exist matter"),
            ],
            |_| true,
        )
        || found(
            words,
            "without",
            &[Step(2, "restrictions filters limitations guardrails safeguards censorship")],
            |_| true,
        )
        || found(
            words,
            "new",
            &[
                Step(1, "instructions directive directives orders"),
                Step(3, "is are follow as you delete send ignore"),
            ],
            |_| true,
        )
}

const NEGATIONS: Set = "not dont never cannot cant wont didnt doesnt avoid no";

fn plays_a_role(words: &[String]) -> bool {
    const MODES: Set = "developer god admin administrator root sudo jailbreak* unrestricted unsafe superuser privileged \
        dan override unfiltered kernel";
    const ROLES: Set = "unrestricted admin* root dan hacker superuser jailbroken evil unfiltered attacker rules \
        restrictions limits filters";
    const PHRASES: [&str; 17] = [
        "you are now",
        "you are no longer",
        "from now on you",
        "do anything now",
        "system override",
        "override code",
        "admin override",
        "security override",
        "emergency override",
        "jailbreak",
        "end of system prompt",
        "ignore safety",
        "you are root",
        "you are admin",
        "you are an ai without",
        "you have no restrictions",
        "run any command",
    ];
    PHRASES.iter().any(|phrase| says(words, phrase))
        || found(words, MODES, &[Step(0, "mode")], |_| true)
        || found(words, "act behave respond", &[Step(0, "as like"), Step(5, ROLES)], |_| true)
        || found(words, "pretend* roleplay* imagine simulate", &[Step(8, ROLES)], |_| true)
}

const DESTROY: Set = "delete deleting deletion drop dropping erase erasing wipe wiping destroy destroying purge purging \
    truncate truncating remove removing nuke shred obliterate eradicate rid";
const BELONGINGS: Set = "record* user users customer* account* data database* db table tables file files log logs backup* \
    server* system* disk* drive* row rows schema* index* director* folder* partition* volume* bucket* \
    cluster* repositor* history evidence trail* instance* entries inventory orders employee* patient* \
    transaction* invoices contents documents emails messages client* production collection* keys snapshots \
    resources environment* passwords permissions credentials";

fn destroys(words: &[String]) -> bool {
    const SCOPE: Set = "all every entire whole any each everything complete production prod live";
    const STORES: Set = "database* db table tables backup* logs schema* disk* drive* partition* server* cluster* bucket* \
        records accounts evidence trail history users customers production";
    let ordered = |place: usize| !is(before(words, place), NEGATIONS);
    found(words, DESTROY, &[Step(2, "everything")], ordered)
        || found(words, DESTROY, &[Step(3, SCOPE), Step(5, BELONGINGS)], ordered)
        || found(words, DESTROY, &[Step(3, STORES)], |place| {
            ordered(place) && !table_of_contents(words, place)
        })
        || found(
            words,
            "clear overwrite corrupt kill format reset empty",
            &[Step(1, SCOPE), Step(4, BELONGINGS)],
            ordered,
        )
        || found(
            words,
            "disable deactivate suspend terminate lock block revoke",
            &[Step(2, SCOPE), Step(3, BELONGINGS)],
            ordered,
        )
        || found(
            words,
            "overwrite modify alter tamper corrupt edit replace change",
            &[
                Step(3, "system kernel boot critical security"),
                Step(2, "config* file files registry binar* librar* polic*"),
            ],
            ordered,
        )
        || found(words, "format reformat wipe", &[Step(3, "drive disk harddrive partition")], ordered)
}

/// A table in a text is no table of a database.
fn table_of_contents(words: &[String], place: usize) -> bool {
    words
        .iter()
        .skip(place)
        .take(8)
        .any(|word| matches!(word.as_str(), "of" | "column" | "chart" | "figure" | "slide"))
        && words.iter().skip(place).take(6).any(|word| matches!(word.as_str(), "table" | "tables"))
}

const SECRETS: Set =
    "passwords credentials secrets ssns passcodes passphrases keychain passwd shadow cvv pins";

fn gives_secrets_away(words: &[String]) -> bool {
    const SHOW: Set = "show print reveal* dump list give send export extract leak* display output retrieve get read tell \
        share email upload exfiltrat* steal expose fetch copy post forward disclose provide return collect \
        repeat what access harvest decrypt crack recover include append insert";
    const KINDS: Set = "api private ssh secret access encryption signing master root admin session auth system credit \
        security password connection environment bearer hidden initial social card debit aws database \
        production";
    const THINGS: Set = "key keys token tokens password passwords prompt cards card numbers hashes hash string strings \
        variables table cookies credentials instructions secrets";
    const ABOUT: Set =
        "about regarding policy policies how never article guide reset training manager on why";
    let meant = |place: usize| {
        let negated =
            words.iter().skip(place.saturating_sub(3)).take(3.min(place)).any(|word| is(word, NEGATIONS));
        !negated && !words.iter().skip(place).take(9).any(|word| is(word, ABOUT))
    };
    found(words, SHOW, &[Step(6, SECRETS)], meant)
        || found(words, SHOW, &[Step(5, KINDS), Step(0, THINGS)], meant)
        || found(
            words,
            SHOW,
            &[Step(3, "every* all each users user customer* admin* root their"), Step(2, "password")],
            meant,
        )
}

fn lowers_defences(words: &[String]) -> bool {
    const GUARDS: Set = "security safety firewall* antivirus authentication auth logging audit* monitoring mfa 2fa \
        encryption guardrail* safeguard* protection* restriction* validation sandbox* governance defender \
        edr selinux ssl tls throttling ratelimit* policy policies controls backups";
    const CORE: Set = "logging firewall* antivirus auditing authentication audit safety security";
    let ordered = |place: usize| !is(before(words, place), NEGATIONS);
    found(
        words,
        "disable disabling deactivate suppress defeat neutralize weaken",
        &[Step(4, GUARDS)],
        ordered,
    ) || found(words, "turn switch shut", &[Step(0, "off down"), Step(4, GUARDS)], ordered)
        || found(words, "turn switch", &[Step(3, GUARDS), Step(2, "off")], ordered)
        || found(words, "stop kill delete erase clear remove uninstall", &[Step(2, CORE)], ordered)
}

fn raises_privileges(words: &[String]) -> bool {
    const GRANT: Set =
        "grant* give elevate escalate promote make add assign upgrade obtain gain need want get";
    const HIGH: Set = "admin administrator administrative root superuser sudo full unrestricted elevated privileged \
        unlimited god";
    const RIGHTS: Set = "access privilege* rights role permission* control status account";
    found(words, GRANT, &[Step(6, HIGH), Step(1, RIGHTS)], |_| true)
        || found(words, "escalat* elevat*", &[Step(3, "privilege* permission*")], |_| true)
        || found(
            words,
            "create add register",
            &[Step(3, "admin administrator root superuser backdoor"), Step(1, "user account login access")],
            |_| true,
        )
        || found(words, "make", &[Step(2, "admin administrator superuser root")], |_| true)
        || found(words, "all", &[Step(0, "privileges")], |_| true)
        || found(
            words,
            "change set update switch",
            &[
                Step(3, "role permission* privilege* group"),
                Step(3, "admin administrator root superuser owner"),
            ],
            |_| true,
        )
        || found(
            words,
            "give grant get provide allow let",
            &[
                Step(2, "access"),
                Step(
                    3,
                    "payroll salar* confidential customer* admin* root restricted patient* employee* \
                        bank everything all classified",
                ),
            ],
            |_| true,
        )
}

const PEOPLE: Set = "customer* user users employee* patient* client* personal member* subscriber*";
const DATA: Set = "data* records emails list information contents details documents files messages conversation* \
    transcripts contacts info history";

fn sends_data_away(words: &[String]) -> bool {
    const SEND: Set = "export send transfer upload forward copy exfiltrat* leak* post email ship mail dump publish sell \
        steal sync";
    const MUCH: Set = "all every entire full complete whole customer* user users employee* patient* client* confidential \
        internal sensitive private proprietary";
    const AWAY: Set = "external externally outside attacker* third pastebin* competitor* evil* http https ftp unknown \
        darkweb rival personal publicly";
    found(words, SEND, &[Step(3, MUCH), Step(3, DATA), Step(6, AWAY)], |_| true)
        || found(
            words,
            "export dump download extract copy leak",
            &[Step(2, "all entire every full complete"), Step(2, PEOPLE), Step(2, DATA)],
            |_| true,
        )
        || found(words, "exfiltrat* steal stealing", &[Step(5, DATA)], |_| true)
        || found(words, "exfiltrat* steal stealing", &[Step(5, SECRETS)], |_| true)
        || found(
            words,
            "transfer wire send move pay withdraw",
            &[
                Step(2, "all entire full every remaining whole"),
                Step(2, "funds money balance* savings assets bitcoin* crypto*"),
            ],
            |_| true,
        )
        || found(
            words,
            "forward bcc cc send redirect",
            &[
                Step(2, "all every each any"),
                Step(4, "emails email mails mail messages invoices payments traffic"),
                Step(5, "to"),
            ],
            |_| true,
        )
}

fn harms_systems(words: &[String]) -> bool {
    const SYSTEMS: Set = "server* system* production database* cluster* network machine* everything infrastructure host \
        computer* site all";
    const MALICE: Set = "malware virus worm phishing spam backdoor* rootkit* keylogger* ransomware trojan* botnet spyware \
        payload";
    found(words, "shutdown reboot halt crash ddos hack compromise sabotage", &[Step(4, SYSTEMS)], |_| true)
        || found(words, "shut take bring power", &[Step(0, "down off"), Step(4, SYSTEMS)], |_| true)
        || found(words, "shut take bring", &[Step(3, SYSTEMS), Step(1, "down offline")], |_| true)
        || found(
            words,
            "install deploy plant inject write create run execute download open spread send",
            &[Step(2, MALICE)],
            |_| true,
        )
        || says(words, "reverse shell")
        || says(words, "fork bomb")
        || found(
            words,
            "execute run eval perform",
            &[Step(3, "arbitrary malicious destructive dangerous")],
            |_| true,
        )
}

fn hides(words: &[String]) -> bool {
    const WITNESSES: Set =
        "user users anyone anybody admin* security human owner operator team customer him her them";
    found(
        words,
        "not dont never without",
        &[Step(1, "tell* mention* notify* alert* inform* reveal* warn*"), Step(3, WITNESSES)],
        |_| true,
    ) || found(
        words,
        "without skip no",
        &[Step(1, "logging confirmation approval authorization authorisation")],
        |_| true,
    ) && danger(words)
        || found(words, "cover", &[Step(2, "tracks")], |_| true)
}

fn addresses_a_model(words: &[String]) -> bool {
    const MODELS: Set = "ai ais assistant* llm llms agent agents chatbot* model gpt claude copilot bot";
    const PHRASES: [&str; 6] = [
        "when you read this",
        "if you are an ai",
        "if you are an llm",
        "if you are a language model",
        "as an ai you must",
        "hidden instruction",
    ];
    PHRASES.iter().any(|phrase| says(words, phrase))
        || found(
            words,
            "attention hey dear note message instruction* instructions important todo",
            &[
                Step(2, MODELS),
                Step(
                    6,
                    "must should please call run execute send ignore delete forward transfer reveal \
                        include immediately now",
                ),
            ],
            |_| true,
        )
        || found(words, "ai llm", &[Step(1, MODELS), Step(3, "must shall")], |_| true)
        || found(
            words,
            "system admin",
            &[
                Step(0, "message note notice alert update command instruction"),
                Step(8, "must execute transfer forward run grant reveal"),
            ],
            |_| true,
        )
}

/// Something that somebody's authority is claimed for.
fn danger(words: &[String]) -> bool {
    const ACTS: Set = "delet* drop* eras* wip* destroy* purg* truncat* remov* overwrit* alter disabl* export* dump* \
        transfer* wire wiring execut* shutdown unlock* clear*";
    const THINGS: Set = "record* users customer* account* data* db table* log logs backup* server* rows schema* everything \
        funds money payment* payroll salar* password* credential* secret* key keys token* evidence audit \
        production permissions privileges balance* limit* config* employee* patient* emails access systems \
        ssn* confidential transaction* files admin* firewall* security command*";
    const ASKS: Set = "send copy access show reveal view give see read release pay approve chang* updat* reset* modify \
        rotat* download* need* want* provide share raise increase";
    const GUARDED: Set = "password* credential* secret* token* ssn* salar* payroll funds money confidential permissions \
        privileges balance* production firewall* admin* customer* keys root sensitive restricted private";
    const DONE: Set =
        "deleted dropped erased wiped exported removed purged disabled transferred destroyed dumped";
    found(words, ACTS, &[Step(5, THINGS)], |_| true)
        || found(words, ASKS, &[Step(4, GUARDED)], |_| true)
        || found(words, THINGS, &[Step(4, DONE)], |_| true)
}

fn claims_authority(words: &[String]) -> bool {
    const ROLES: Set = "admin administrator ceo cto cfo ciso cio coo root superuser sysadmin dba developer creator boss \
        director president executive security auditor anthropic openai police fbi operator maintainer \
        supervisor owner compliance devops engineer manager management legal support";
    const PHRASES: [&str; 24] = [
        "test environment",
        "this is a test",
        "just a test",
        "only a test",
        "for testing",
        "testing purposes",
        "security audit",
        "penetration test",
        "authorized pentest",
        "trust me",
        "i have permission",
        "i have authorization",
        "have clearance",
        "fully authorized",
        "im authorized",
        "i am authorized",
        "been approved",
        "already approved",
        "has approved",
        "pre approved",
        "educational purposes",
        "hypothetically",
        "no questions",
        "my grandmother",
    ];
    let claimed = found(words, "im am is as behalf", &[Step(4, ROLES)], |_| true)
        || found(
            words,
            ROLES,
            &[Step(
                3,
                "approv* authoriz* authoris* said says ordered requested needs wants told asked \
                    instructed signed demands here speaking",
            )],
            |_| true,
        )
        || found(words, "authoriz* authoris* approved permission", &[Step(4, ROLES)], |_| true)
        || found(words, "emergency urgent* immediately asap", &[], |_| true)
        || found(words, "sandbox staging simulation drill fiction* hypothetical*", &[], |_| true)
        || PHRASES.iter().any(|phrase| says(words, phrase));
    claimed && danger(words)
}
