//! Orders in prose: to forget rules, to destroy, to give secrets away, to open doors, on somebody's supposed authority.
//!
//! A detector by its nature: it knows families of English phrases, and whoever words an order otherwise is not seen. What
//! it misses and what it takes for an order wrongly is measured in `tests/red_team.rs`.

use super::words::{Set, Step, Words, is};

/// Whether the text orders what an agent must not do on a text's word.
pub(super) fn in_text(text: &str) -> bool {
    let words = Words::of(text);
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

fn overrides_rules(words: &Words) -> bool {
    const FORGET: Set = "ignore ignoring disregard* forget neglect dismiss abandon unlearn";
    const BYPASS: Set = "bypass* circumvent* overrid* evade sidestep* violate violating";
    const BREAK: Set = "skip drop break suspend discard delete erase reset lift";
    const OWN: Set = "previous prior above earlier preceding your all any initial original system";
    const DEFENCES: Set = "security authentication authorization authorisation approval* validation verification confirmation \
        access filter control check review sandbox* paywall login auth monitoring";
    let direct = |place: usize| !is(words.before(place), NEGATIONS);
    words.found(FORGET, &[Step(4, RULES)], direct)
        || words.found(
            FORGET,
            &[
                Step(3, "everything all anything what"),
                Step(3, "told said above before learned know previously"),
            ],
            direct,
        )
        || words.found(BYPASS, &[Step(4, RULES)], direct)
        || words.found(BYPASS, &[Step(3, DEFENCES)], direct)
        || words.found(BREAK, &[Step(2, OWN), Step(2, RULES)], direct)
        || words.found(FORGET, &[Step(1, "security safety compliance")], direct)
        || words.found(
            "skip skipping",
            &[Step(2, "approval* authentication authorization validation verification confirmation")],
            direct,
        )
        || words.found(FORGET, &[Step(2, OWN), Step(2, "context conversation commands input")], direct)
        || words.found("stop quit cease", &[Step(0, "following obeying applying"), Step(5, RULES)], direct)
        || words.found(
            "repeat recite output print reproduce",
            &[Step(4, "text everything words content instructions message"), Step(1, "above")],
            direct,
        )
        || words.found(
            "no",
            &[
                Step(1, "restrictions rules filters limits limitations guidelines"),
                Step(2, "apply anymore exist matter"),
            ],
            |_| true,
        )
        || words.found(
            "without",
            &[Step(2, "restrictions filters limitations guardrails safeguards censorship")],
            |_| true,
        )
        || words.found(
            "new",
            &[
                Step(1, "instructions directive directives orders"),
                Step(3, "is are follow as you delete send ignore"),
            ],
            |_| true,
        )
}

const NEGATIONS: Set = "not dont never cannot cant wont didnt doesnt avoid no";

fn plays_a_role(words: &Words) -> bool {
    const MODES: Set = "developer god admin administrator root sudo jailbreak* unrestricted unsafe superuser privileged \
        dan override unfiltered kernel";
    const ROLES: Set = "unrestricted admin* root dan hacker superuser jailbroken evil unfiltered attacker rules \
        restrictions limits filters";
    const PHRASES: [&str; 19] = [
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
        "new system prompt",
        "you have no rules",
        "you are root",
        "you are admin",
        "you are an ai without",
        "you have no restrictions",
        "run any command",
    ];
    PHRASES.iter().any(|phrase| words.says(phrase))
        || words.found(MODES, &[Step(0, "mode")], |_| true)
        || words.found("act behave respond", &[Step(0, "as like"), Step(5, ROLES)], |_| true)
        || words.found("pretend* roleplay* imagine simulate", &[Step(8, ROLES)], |_| true)
}

const DESTROY: Set = "delete deleting deletion drop dropping erase erasing wipe wiping destroy destroying purge purging \
    truncate truncating remove removing nuke shred obliterate eradicate rid";
const BELONGINGS: Set = "record* user users customer* account* data database* db table tables file files log logs backup* \
    server* system* disk* drive* row rows schema* index* director* folder* partition* volume* bucket* \
    cluster* repositor* history evidence trail* instance* entries inventory orders employee* patient* \
    transaction* invoices contents documents emails messages client* production collection* keys snapshots \
    resources environment* passwords permissions credentials";

fn destroys(words: &Words) -> bool {
    const SCOPE: Set = "all every entire whole any each everything complete production prod live";
    const LASTING: Set = "database* backup* logs records accounts evidence trail servers";
    const STORES: Set = "database* db table tables backup* logs schema* disk* drive* partition* server* cluster* bucket* \
        records accounts evidence trail history users customers production";
    let ordered = |place: usize| !is(words.before(place), NEGATIONS);
    // `The logs are not needed; purge them.`
    words.found_across(LASTING, &[Step(6, DESTROY), Step(0, "them it those these")])
        || words.found(DESTROY, &[Step(2, "everything")], ordered)
        || words.found(DESTROY, &[Step(3, SCOPE), Step(5, BELONGINGS)], ordered)
        || words
            .found(DESTROY, &[Step(5, STORES)], |place| ordered(place) && !table_of_contents(words, place))
        || words.found(
            "clear overwrite corrupt kill format reset empty",
            &[Step(1, SCOPE), Step(4, BELONGINGS)],
            ordered,
        )
        || words.found(
            "disable deactivate suspend terminate lock block revoke",
            &[Step(2, SCOPE), Step(3, BELONGINGS)],
            ordered,
        )
        || words.found(
            "overwrite modify alter tamper corrupt edit replace change",
            &[
                Step(3, "system kernel boot critical security"),
                Step(2, "config* file files registry binar* librar* polic*"),
            ],
            ordered,
        )
        || words.found("format reformat wipe", &[Step(3, "drive disk harddrive partition")], ordered)
}

/// A table in a text is no table of a database.
fn table_of_contents(words: &Words, place: usize) -> bool {
    words
        .iter()
        .skip(place)
        .take(8)
        .any(|word| matches!(word.as_str(), "of" | "column" | "chart" | "figure" | "slide"))
        && words.iter().skip(place).take(6).any(|word| matches!(word.as_str(), "table" | "tables"))
}

const SECRETS: Set =
    "passwords credentials secrets ssns passcodes passphrases keychain passwd shadow cvv pins";

fn gives_secrets_away(words: &Words) -> bool {
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
        let front = words.iter().take(place).rev().take(3).take_while(|word| *word != ".");
        let negated = front.into_iter().any(|word| is(word, NEGATIONS));
        !negated && !words.iter().skip(place).take(9).any(|word| is(word, ABOUT))
    };
    words.found(SHOW, &[Step(6, SECRETS)], meant)
        || words.found(SHOW, &[Step(5, KINDS), Step(0, THINGS)], meant)
        || words.found(
            SHOW,
            &[Step(3, "every* all each users user customer* admin* root their"), Step(2, "password")],
            meant,
        )
}

fn lowers_defences(words: &Words) -> bool {
    const GUARDS: Set = "security safety firewall* antivirus authentication auth logging audit* monitoring mfa 2fa \
        encryption guardrail* safeguard* protection* restriction* validation sandbox* governance defender \
        edr selinux ssl tls throttling ratelimit* policy policies controls backups";
    const CORE: Set = "logging firewall* antivirus auditing authentication audit safety security";
    let ordered = |place: usize| !is(words.before(place), NEGATIONS);
    words.found("disable disabling deactivate suppress defeat neutralize weaken", &[Step(4, GUARDS)], ordered)
        || words.found("turn switch shut", &[Step(0, "off down"), Step(4, GUARDS)], ordered)
        || words.found("turn switch", &[Step(3, GUARDS), Step(2, "off")], ordered)
        || words.found(
            "disable disabling deactivate remove lift",
            &[Step(3, "access"), Step(0, "control controls")],
            ordered,
        )
        || words.found("stop kill delete erase clear remove uninstall", &[Step(2, CORE)], ordered)
}

fn raises_privileges(words: &Words) -> bool {
    const GRANT: Set =
        "grant* give elevate escalate promote make add assign upgrade obtain gain need want get";
    const HIGH: Set = "admin administrator administrative root superuser sudo full unrestricted elevated privileged \
        unlimited god";
    const RIGHTS: Set = "access privilege* rights role permission* control status account";
    words.found(GRANT, &[Step(6, HIGH), Step(1, RIGHTS)], |_| true)
        || words.found("escalat* elevat*", &[Step(3, "privilege* permission*")], |_| true)
        || words.found(
            "create add register",
            &[Step(3, "admin administrator root superuser backdoor"), Step(1, "user account login access")],
            |_| true,
        )
        || words.found("make", &[Step(2, "admin administrator superuser root")], |_| true)
        || words.found("all", &[Step(0, "privileges")], |_| true)
        || words.found(
            "change set update switch",
            &[
                Step(3, "role permission* privilege* group"),
                Step(3, "admin administrator root superuser owner"),
            ],
            |_| true,
        )
        || words.found(
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

fn sends_data_away(words: &Words) -> bool {
    const SEND: Set = "export send transfer upload forward copy exfiltrat* leak* post email ship mail dump publish sell \
        steal sync";
    const MUCH: Set = "all every entire full complete whole customer* user users employee* patient* client* confidential \
        internal sensitive private proprietary";
    const AWAY: Set = "external externally outside attacker* third pastebin* competitor* evil* http https ftp unknown \
        darkweb rival personal publicly";
    words.found(SEND, &[Step(3, MUCH), Step(3, DATA), Step(6, AWAY)], |_| true)
        || words.found(
            "export dump download extract copy leak",
            &[Step(2, "all entire every full complete"), Step(2, PEOPLE), Step(2, DATA)],
            |_| true,
        )
        || words.found("exfiltrat* steal stealing", &[Step(5, DATA)], |_| true)
        || words.found("exfiltrat* steal stealing", &[Step(5, SECRETS)], |_| true)
        || words.found(
            "transfer wire send move pay withdraw",
            &[
                Step(2, "all entire full every remaining whole"),
                Step(2, "funds money balance* savings assets bitcoin* crypto*"),
            ],
            |_| true,
        )
        || words.found(
            "forward bcc cc send redirect",
            &[
                Step(2, "all every each any"),
                Step(4, "emails email mails mail messages invoices payments traffic"),
                Step(5, "to"),
            ],
            |_| true,
        )
}

fn harms_systems(words: &Words) -> bool {
    const SYSTEMS: Set = "server* system* production database* cluster* network machine* everything infrastructure host \
        computer* site all";
    const MALICE: Set = "malware virus worm phishing spam backdoor* rootkit* keylogger* ransomware trojan* botnet spyware \
        payload";
    words.found("shutdown reboot halt crash ddos hack compromise sabotage", &[Step(4, SYSTEMS)], |_| true)
        || words.found("shut take bring power", &[Step(0, "down off"), Step(4, SYSTEMS)], |_| true)
        || words.found("shut take bring", &[Step(3, SYSTEMS), Step(1, "down offline")], |_| true)
        || words.found(
            "install deploy plant inject write create run execute download open spread send",
            &[Step(2, MALICE)],
            |_| true,
        )
        || words.says("reverse shell")
        || words.says("fork bomb")
        || words.found(
            "execute run eval perform",
            &[Step(3, "arbitrary malicious destructive dangerous")],
            |_| true,
        )
}

fn hides(words: &Words) -> bool {
    const WITNESSES: Set =
        "user users anyone anybody admin* security human owner operator team customer him her them";
    words.found(
        "not dont never without",
        &[Step(1, "tell* mention* notify* alert* inform* reveal* warn*"), Step(3, WITNESSES)],
        |_| true,
    ) || words.found(
        "without skip no",
        &[Step(1, "logging confirmation approval authorization authorisation")],
        |_| true,
    ) && danger(words)
        || words.found("cover", &[Step(2, "tracks")], |_| true)
}

fn addresses_a_model(words: &Words) -> bool {
    const MODELS: Set = "ai ais assistant* llm llms agent agents chatbot* model gpt claude copilot bot";
    const PHRASES: [&str; 6] = [
        "when you read this",
        "if you are an ai",
        "if you are an llm",
        "if you are a language model",
        "as an ai you must",
        "hidden instruction",
    ];
    PHRASES.iter().any(|phrase| words.says(phrase))
        || words.found(
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
        || words.found("ai llm", &[Step(1, MODELS), Step(3, "must shall")], |_| true)
        || words.found(
            "system admin",
            &[
                Step(0, "message note notice alert update command instruction"),
                Step(8, "must execute transfer forward run grant reveal"),
            ],
            |_| true,
        )
}

/// Something that somebody's authority is claimed for.
fn danger(words: &Words) -> bool {
    const ACTS: Set = "delet* drop* eras* wip* destroy* purg* truncat* remov* overwrit* alter disabl* export* dump* \
        transfer* wire wiring execut* shutdown unlock* clear*";
    const THINGS: Set = "dollar* euro* usd eur record* users customer* account* data* db table* log logs backup* server* rows schema* everything \
        funds money payment* payroll salar* password* credential* secret* key keys token* evidence audit \
        production permissions privileges balance* limit* config* employee* patient* emails access systems \
        ssn* confidential transaction* files admin* firewall* security command*";
    const ASKS: Set = "send copy access show reveal view give see read release pay approve chang* updat* reset* modify \
        rotat* download* need* want* provide share raise increase";
    const GUARDED: Set = "password* credential* secret* token* ssn* salar* payroll funds money confidential permissions \
        privileges balance* production firewall* admin* customer* keys root sensitive restricted private";
    const DONE: Set =
        "deleted dropped erased wiped exported removed purged disabled transferred destroyed dumped";
    words.found(ACTS, &[Step(5, THINGS)], |_| true)
        || words.found(ASKS, &[Step(4, GUARDED)], |_| true)
        || words.found(THINGS, &[Step(4, DONE)], |_| true)
}

fn claims_authority(words: &Words) -> bool {
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
    let claimed = words.found("im am is as behalf", &[Step(4, ROLES)], |_| true)
        || words.found(
            ROLES,
            &[Step(
                3,
                "approv* authoriz* authoris* said says ordered requested needs wants told asked \
                    instructed signed demands here speaking",
            )],
            |_| true,
        )
        || words.found("authoriz* authoris* approved permission", &[Step(4, ROLES)], |_| true)
        || words.found("emergency urgent* immediately asap", &[], |_| true)
        || words.found("sandbox staging simulation drill fiction* hypothetical*", &[], |_| true)
        || PHRASES.iter().any(|phrase| words.says(phrase));
    claimed && danger(words)
}
