"""What the words of a series description say of its contrast: weighting, gradient echo, contrast agent.

Descriptions are typed by people in many languages and abbreviations. So they are folded to lower case without accents,
then read by words, never by parts of words ("Cervical" holds CE, "difficult" holds diff), and a negation is read
together with what it negates ("ohne KM", "W/O CONTRAST"). Words of other scripts have patterns of their own, because
Chinese and Japanese have no spaces.
"""

import re
import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """What a description says."""

    weighting: str | None
    """``T1``, ``T2``, ``PD``; None if there is no such word, or several that differ."""
    quote: str
    """The words of the weighting, for people."""
    other: str = ""
    """What it says that is none of the series types, such as a scout; empty if nothing."""
    gradient_echo: bool = False
    """Whether it names a gradient echo."""
    inversion: bool = False
    """Whether it says STIR, whose echo time may be short."""
    agent: bool = False
    native: bool = False
    """``agent``, ``native``: whether it says that a contrast agent was given, or that none was."""


def _word(pattern: str) -> re.Pattern[str]:
    """A pattern between characters that are no ASCII letters or digits: T2 may stand next to a Chinese character."""
    return re.compile(rf"(?<![a-z0-9])(?:{pattern})(?![a-z0-9])")


# A digit must not follow ("t10"), a letter may ("T1w"); a letter or digit must not come before ("st1", "2t1").
_WEIGHTING = re.compile(
    r"(?<![a-z0-9])(t1|t2|stir|tirm)(?![0-9])|(?<![a-z0-9])(pd|dp)(?:w|wi|fs|tse|fse|se|spair)?(?![a-z0-9])"
)
_WEIGHTING_OF_WORD = {"t1": "T1", "t2": "T2", "stir": "T2", "tirm": "T2", "pd": "PD", "dp": "PD"}

# Each with its name for people: the word itself may be fused with a person's name.
_OTHER = {
    "diffusion, perfusion or another echo-planar image": _word(
        r"diff|diffusion\w*|diffusie|difusion|dwi\w*|adc|dti|ivim|tracew?|ep2d\w*|epi|perf|perfusion\w*|dyn|dynami\w*"
    ),
    "myelography": _word(r"myelo(?!path|malac|menin)\w*|hydro"),
    "a scout": _word(
        r"scout\w*|survey|topogra\w*|pilot|ubersicht\w*|uebersicht\w*|reperage|locali[sz]\w*|lokali[sz]\w*|locs?|loca|"
        r"local(?! (?:coil|shim|fov|spule|look|antenna))"
    ),
    "a subtraction": _word(r"sub|subs|subtr\w*|soustr\w*|sottraz\w*|sustracc\w*|substra\w*"),
    "a map, an angiography or a projection": _word(
        r"t[12] ?map\w*|mapit|tof|angio\w*|mra|swi|swan|qsm|cine|fmri|bold|mip|fieldmap|refscan|"
        # Not flow compensation, which images of the spine often have, nor saturation of flowing blood.
        r"(?<!no )(?<!non )(?<!anti )(?<!less )(?<!with )flow(?! ?(?:comp|sat|supp?r|void|art|off|null|less|red))"
    ),
    # T2* and MEDIC or MERGE are gradient echoes, whose contrast is not that of a T2-weighted spin echo.
    "T2*": re.compile(r"t2w? ?\*|(?<![a-z0-9])t2 ?star(?![a-z])|(?<![a-z0-9])(?:medic|merge)(?![a-z])"),
    # Not the phase-encoding direction, its oversampling, or an in-phase Dixon image.
    "a phase image": _word(
        r"(?<!no )(?<!in )(?<!of )(?<!out )(?<!opp )(?<!opposed )(?<!anti )phase"
        r"(?! (?:(?:wrap|ap|pa|rl|lr|hf|fh|si|is|over|enc|dir|samp|swap|fov|no)\w*|[aprlhfsi] [aprlhfsi](?![a-z])))"
    ),
}
_GRADIENT_ECHO = _word(
    r"t?gre|ge?2d|fl[23]d\w*|flash\w*|b?t?ffe\w*|mffe|m ?ffe|cosmic|fiesta\w*|ciss|trufi\w*|true ?fisp|fisp\w*|dess|"
    r"f?spgr\w*|vibe|mprage|lava|thrive|tfe|grass|tfl|bssfp|ssfp|gradient ?echo|eco de gradiente|echo de gradient|hemo"
)
_DIXON = re.compile(r"dixon|ideal|flex(?![a-z])")
_FAT_IMAGE = _word(r"f|fo|fat|fat only|fatonly|fett|graisse|grasa")
_SUPPRESSED_FAT = _word(
    r"(?:fat|fett|graisse|grasa) ?(?:sat|sup|supp|suppr\w*|saturat\w*|sattigung|unterdr\w*)\w*|f ?/ ?s"
)

_AGENT_WORD = (
    r"(?:gad(?!get)\w*|gd|dotarem|magnevist|multihance|prohance|omniscan|clariscan|primovist|vueway|elucirem|gbca|dce|cmc|mdc|kmh?|"
    r""
    r"contrast\w*|kontrast\w*|kontraszt\w*|tehoste\w*|kontr|contr?|inj|inject\w*|injecao|inyec\w*|iniezion\w*|iv|enhanced|enhancement|enh)"
)
_WITHOUT = (
    r"(?:without|no|non|not|sans|sin|senza|ohne|o|kein\w*|zonder|sem|bez|utan|uden|uten|pre|prae?|before|vor|avant|avt|"
    r"antes|prima|voor|blanco|fara|ilman|nelkul)"
)
_LINK = r"(?: (?:i ?v|de|del|di|du|la|le|el|the|any))*"
# Fused prefixes are split, so that "postgad" and "pregad" read as "post gad" and "pre gad".
_FUSED = _word(
    r"(pre|post|non|no|vor|nach|ohne|mit|sans|avec|sin|senza|met|zonder|without|with|w)"
    r"((?:gad|contrast|kontrast|inj)\w*|gd|con|km|mdc|op\w*|sat\w*)"
)
_FUSED_C = _word(r"(pre|post)(c)")
_SPELLINGS = [
    (re.compile(r"(?<![^\W\d_])т ?(?=[12](?![0-9]))"), "t"),  # the Cyrillic letter, as in "Т2"
    (re.compile(r"^sub[-_][a-z0-9]+|(?<![a-z0-9])(?:sub|ses)-[a-z0-9]+"), " "),  # subject and session of BIDS
    (re.compile(r"(?<![a-z0-9])i ?[.] ?v(?![a-z0-9])[.]?"), " iv "),
    (re.compile(r"(?<![a-z0-9])s ?/ ?c(?![a-z0-9])"), " without contrast "),  # Spanish and Portuguese: sin, sem
    (re.compile(r"(?<![a-z0-9])c ?/ ?c(?![a-z0-9])"), " with contrast "),
    (re.compile(r"(?<![a-z0-9])w ?/ ?o(?:ut)?(?![a-z0-9])|(?<![a-z0-9])wo(?![a-z0-9])"), " without "),
    (re.compile(r"(?<![a-z0-9])[wc] ?/ ?(?=[a-z])"), " with "),
    (re.compile(r"(?<![a-z0-9])s/ ?(?=[a-z])"), " without "),
    (re.compile(r"[^\w+*/ ]|_"), " "),
    (_FUSED, r"\1 \2"),
    (_FUSED_C, r"\1 \2"),
    (re.compile(r"\s+"), " "),
]
_BOTH = _word(r"(?:w|with|mit|avec|con|pre)(?: ?[/+&]| and| und| et| y)? (?:without|ohne|sans|sin|post)")
_NATIVE = _word(
    rf"{_WITHOUT}{_LINK} (?:{_AGENT_WORD}|con|cm|ce|c|k)|kontrastsiz|without|unenhanced|pre|prae?|nativ\w*|plain|"
    r"basale?|non ?enhanced|blanco|kontraszt\w* nelkul"
)
# Of "contrast" without a negation. "CM" is centimetres after a number, and "CE" may be a junction of the spine.
_AGENT = re.compile(
    rf"(?<![a-z0-9]){_AGENT_WORD}(?![a-z0-9])"
    r"|\+ ?(?:c|k|km|cm|ce|con)(?![a-z0-9])|(?<![a-z0-9])(?:c|k|km|gd) ?\+|\+ ?$"
    r"|(?<![a-z0-9])(?:w|with|mit|post|nach|apres|dopo|na|avec) (?:c|con|k|cm)(?![a-z0-9])|(?<![a-z0-9])(?:con|with) ?$"
    r"|(?<![a-z0-9])(?<![0-9] )cm(?![a-z0-9])"
    r"|(?<![a-z0-9])ce(?![a-z0-9])(?! (?:junction|jct|spine|cord|region|level))"
    # "post" alone means after contrast; after surgery and a posterior saturation band are something else.
    r"|(?<![a-z0-9])post(?![a-z0-9])(?! ?/? ?(?:op|oper|surg|sat(?!$)|sat$|proc|treat|rx|tx|therap|fusion|lam|disc|"
    r"traum|rad|chir|kyph|vert|elem|band|arth|bx|biops|void|part|ant|chemo|inf|lumb)\w*)"
)


def folded(text: str) -> str:
    """Lower case without accents and ligatures."""
    plain = unicodedata.normalize("NFKD", text)
    return "".join(char for char in plain if not unicodedata.combining(char)).lower().replace("ß", "ss")


# Russian, Ukrainian, Greek; then Chinese, Japanese and Korean, whose negation stands before or behind. "к/у" and "КУ"
# are short for "контрастное усиление". The patterns are folded as descriptions are.
_NATIVE_SCRIPTS = re.compile(
    folded(
        r"(?<!\w)(?:без|до|не)\s(?:[вз]\w* )?(?:внутривенн\w* )?(?:к ?/ ?у|ку|кв|контраст\w*|усилен\w*|введен\w*)(?!\w)"
        r"|бесконтраст\w*|неконтраст\w*|преконтраст\w*|натив\w*|χωρις (?:\w+ )?σκιαγραφικ\w*"
        r"|平扫|平掃|単純|单纯|單純|(?:未|无|無|非|不|没有|沒有)(?:经|加)?(?:增强|增強|强化|造影|对比剂|對比劑)"
        r"|(?:增强|增強|强化|造影|注射)(?:剂|劑|剤)?(?:前|なし|无|無)|비조영|조영 ?전"
    )
)
_AGENT_SCRIPTS = re.compile(
    folded(
        r"контраст\w*|(?<!\w)к ?/ ?у(?!\w)|(?<!\w)(?:с|со|з|із|после) (?:ку|кв)(?!\w)|гадолин\w*|гадовист\w*"
        r"|магневист\w*|омнискан\w*|дотарем\w*|σκιαγραφικ\w*|增强|增強|强化|造影|对比剂|對比劑|注药|조영"
    )
)


_OTHER_SCRIPTS = {
    name: re.compile(folded(pattern))
    for name, pattern in {
        "diffusion, perfusion or another echo-planar image": r"диффуз|дви(?!\w)|перфуз|弥散|彌散|扩散|擴散|拡散|灌注",
        "myelography": r"миелограф(?!\w*пат)|水成像|脊髓造影|脊髄造影|椎管造影|ミエログラ",
        "a scout": r"локалайзер|локализатор|топограм|разметк|обзорн|скаут|定位|位置決め",
        "a subtraction": r"субтракц|вычитан|减影|減影|差分",
        "a map, an angiography or a projection": r"ангиограф|血管成像|血管造影",
    }.items()
}


def words_of(description: str) -> Words:
    """Read a description, or the name of a file."""
    text = folded(description)
    for pattern, replacement in _SPELLINGS:
        text = pattern.sub(replacement, text)
    text = text.strip()
    words = list(dict.fromkeys(a or b for a, b in _WEIGHTING.findall(text)))
    weightings = {_WEIGHTING_OF_WORD[word] for word in words}
    without_native = _NATIVE_SCRIPTS.sub(" ", _NATIVE.sub(" ", text))
    both = bool(_BOTH.search(text))
    return Words(
        weighting=weightings.pop() if len(weightings) == 1 else None,
        quote=f"description says {' and '.join(word.upper() for word in words)}" if words else "",
        other=_other(text),
        gradient_echo=bool(_GRADIENT_ECHO.search(text)),
        inversion="stir" in words or "tirm" in words,
        agent=both or bool(_AGENT.search(without_native) or _AGENT_SCRIPTS.search(without_native)),
        native=both or without_native != text,
    )


def _other(text: str) -> str:
    if _DIXON.search(text) and _FAT_IMAGE.search(_SUPPRESSED_FAT.sub(" ", text)):
        return "a Dixon fat image"
    latin = next((name for name, pattern in _OTHER.items() if pattern.search(text)), "")
    return latin or next((name for name, pattern in _OTHER_SCRIPTS.items() if pattern.search(text)), "")
