"""Templates that are there without being written: a row each. `chat.register_template` adds to the same table.

A name that is a family's (qwen2.5, qwen3, glm-4.5, …) means the family, which is checked against the official template
and not told here. These are not: no official file of theirs is among the references.
"""

from dataclasses import replace

from renderers.chatting.formatters import JsonCompactFormatter, JsonFormatterNoBreakLine
from renderers.chatting.policies import GlobalPolicy, SystemPolicy, ToolMainContentProcessor, ToolPolicy
from renderers.chatting.template import Template

QWEN = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
HELPFUL = "You are a helpful assistant."
THINKER = (
    "You are a helpful assistant. To answer the user's question, you first think about the reasoning process and then "
    "provide the user with the answer. The reasoning process and answer are enclosed within <think> </think> and "
    "<answer> </answer> tags, respectively, i.e., <think> reasoning process here </think> <answer> answer here "
    "</answer>."
)
CODER = (
    "You are an AI programming assistant, utilizing the Deepseek Coder model, developed by Deepseek Company, and you "
    "only answer questions related to computer science. For politically sensitive questions, security and privacy "
    "issues, and other non-computer science questions, you will refuse to answer."
)
TOOLS = """

# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{tools}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
"""
FUNCTIONS = """# Tools

You have access to the following functions:

<tools>
{tools}
</tools>

If you choose to call a function ONLY reply in the following format with NO suffix:

<tool_call>
<function=example_function_name>
<parameter=example_parameter_1>
value_1
</parameter>
<parameter=example_parameter_2>
This is the value for the second parameter
that can span
multiple lines
</parameter>
</function>
</tool_call>

<IMPORTANT>
Reminder:
- Function calls MUST follow the specified format: an inner <function=...></function> block must be nested within \
<tool_call></tool_call> XML tags
- Required parameters MUST be specified
- You may provide optional reasoning for your function call in natural language BEFORE the function call, but NOT after
- If there is no function call available, answer the question like normal with your current knowledge and do not tell \
the user about function calls
</IMPORTANT>

"""
SKILLS = """# Skills

You may also load one of the following skills with the tool load_skill. A skill's instructions and files are there \
once it is loaded, and not before.

<skills>
{skills}
</skills>

"""
DSML = """

## Tools

You have access to a set of tools to help answer the user's question. You can invoke tools by writing a \
"<｜DSML｜tool_calls>" block like the following:

<｜DSML｜tool_calls>
<｜DSML｜invoke name="$TOOL_NAME">
<｜DSML｜parameter name="$PARAMETER_NAME" string="true|false">$PARAMETER_VALUE</｜DSML｜parameter>
...
</｜DSML｜invoke>
<｜DSML｜invoke name="$TOOL_NAME2">
...
</｜DSML｜invoke>
</｜DSML｜tool_calls>

String parameters should be specified as is and set `string="true"`. For all other types (numbers, booleans, arrays, \
objects), pass the value in JSON format and set `string="false"`.

If thinking_mode is enabled (triggered by <think>), you MUST output your complete reasoning inside <think>...</think> \
BEFORE any tool calls or final response.

Otherwise, output directly after </think> with tool calls or final response.

### Available Tool Schemas

{tools}

You MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.
"""
CALL = """<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>"""

CHATML = Template(
    "chatml",
    system_template="<|im_start|>system\n{system_message}{tools}<|im_end|>\n",
    system_message=QWEN,
    tools_template=TOOLS + CALL,
    user_template="<|im_start|>user\n{content}<|im_end|>\n",
    assistant_template="<|im_start|>assistant\n{content}\n{tool_calls}<|im_end|>\n",
    single_tool_call_template="<tool_call>\n{tool_call}\n</tool_call>",
    tool_calls_joiner="\n",
    observations_template="<|im_start|>user{observations}<|im_end|>\n",
    single_observation_template="\n<tool_response>\n{observation}\n</tool_response>",
    stop_words=("<|im_end|>",),
)
UNTOLD = replace(CHATML, system_template="<|im_start|>system\n{system_message}<|im_end|>\n")
"""Tools are not advertised: whoever calls some describes them himself."""
TOOL_TURNS = {
    "observations_template": "{observations}",
    "single_observation_template": "<|im_start|>tool\n{observation}<|im_end|>\n",
}
VISION = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "vision_start": "<|vision_start|>",
    "vision_end": "<|vision_end|>",
}
NO_DEFAULT = SystemPolicy(use_system_without_system_message=False)

TEMPLATES: dict[str, Template] = {
    template.name: template
    for template in (
        CHATML,
        replace(UNTOLD, name="qwen2.5-no-system-tool"),
        replace(UNTOLD, name="qwen2.5-vl", system_message=HELPFUL, **TOOL_TURNS, **VISION),
        replace(CHATML, name="qwen2.5-vl-system-tool", system_message=HELPFUL, **TOOL_TURNS, **VISION),
        replace(CHATML, name="toolgen-qwen2.5", tool_policy=ToolPolicy(formatter=JsonFormatterNoBreakLine())),
        replace(
            CHATML,
            name="qwen2.5-think",
            system_message=THINKER,
            tools_template=f"{TOOLS}<think> [reasoning process here] </think>\n{CALL}\n"
            "You must think first before calling any tool.",
            assistant_template="<|im_start|>assistant\n<think>{content}\n{tool_calls}<|im_end|>\n",
        ),
        replace(
            CHATML,
            name="qwen-skills",
            system_template="<|im_start|>system\n{tools}{skills}{system_message}<|im_end|>\n",
            system_message="",
            tools_template=FUNCTIONS,
            skills_template=SKILLS,
            assistant_template="<|im_start|>assistant\n<think>\n{reasoning}\n</think>\n\n{content}\n\n{tool_calls}<|im_end|>\n",
            reasoning_template="{reasoning}",
            single_tool_call_template="<tool_call>\n<function={name}>\n{parameters}</function>\n</tool_call>",
            single_parameter_template="<parameter={key}>\n{value}\n</parameter>\n",
        ),
        Template(
            "glm-4",
            system_template="<|system|>\n{system_message}",
            user_template="<|user|>\n{content}",
            assistant_template="<|assistant|>\n{content}",
            observations_template="{observations}",
            single_observation_template="<|observation|>\n{observation}",
            stop_words=("<|user|>", "<|observation|>"),
            global_policy=GlobalPolicy(prefix="[gMASK]<sop>"),
            system_policy=NO_DEFAULT,
        ),
        Template(
            "phi-4",
            system_template="<|im_start|>system<|im_sep|>{system_message}<|im_end|>",
            user_template="<|im_start|>user<|im_sep|>{content}<|im_end|>",
            assistant_template="<|im_start|>assistant<|im_sep|>{content}<|im_end|>",
            stop_words=("<|im_end|>",),
            system_policy=NO_DEFAULT,
        ),
        Template(
            "nemotron",
            system_template="<|start_header_id|>system<|end_header_id|>\n\n{system_message}{tools}<|eot_id|>",
            tools_template="<AVAILABLE_TOOLS>{tools}</AVAILABLE_TOOLS>",
            user_template="<|start_header_id|>user<|end_header_id|>\n\n{content}<|eot_id|>",
            assistant_template="<|start_header_id|>assistant<|end_header_id|>\n\n{content}{tool_calls}<|eot_id|>",
            tool_calls_template="<TOOLCALL>[{tool_calls}]</TOOLCALL>",
            tool_calls_joiner=", ",
            observations_template="<|start_header_id|>user<|end_header_id|>\n\n"
            "<TOOL_RESPONSE>[{observations}]</TOOL_RESPONSE><|eot_id|>",
            stop_words=("<|eot_id|>",),
            global_policy=GlobalPolicy(prefix="<|begin_of_text|>"),
            tool_policy=ToolPolicy(formatter=JsonCompactFormatter(), content_processor=ToolMainContentProcessor()),
        ),
        Template(
            "deepseek-r1-distill-qwen",
            user_template="<｜User｜>{content}",
            assistant_template="<｜Assistant｜><think>\n{reasoning}\n</think>\n\n{content}<｜end▁of▁sentence｜>",
            reasoning_template="{reasoning}",
            stop_words=("<｜end▁of▁sentence｜>",),
            global_policy=GlobalPolicy(prefix="<｜begin▁of▁sentence｜>"),
            system_policy=NO_DEFAULT,
        ),
        Template(
            "deepseek-v4",
            system_template="{system_message}{tools}{skills}",
            tools_template=DSML,
            skills_template="\n\n" + SKILLS.replace("# Skills", "## Skills").removesuffix("\n"),
            user_template="<｜User｜>{content}",
            assistant_template="<｜Assistant｜></think>{content}{tool_calls}<｜end▁of▁sentence｜>",
            tool_calls_template="\n\n<｜DSML｜tool_calls>\n{tool_calls}\n</｜DSML｜tool_calls>",
            tool_calls_joiner="\n",
            single_tool_call_template='<｜DSML｜invoke name="{name}">\n{parameters}</｜DSML｜invoke>',
            single_parameter_template='<｜DSML｜parameter name="{key}" string="{string}">{value}</｜DSML｜parameter>\n',
            observations_template="<｜User｜>{observations}",
            single_observation_template="<tool_result>{observation}</tool_result>",
            stop_words=("<｜end▁of▁sentence｜>",),
            global_policy=GlobalPolicy(prefix="<｜begin▁of▁sentence｜>"),
            system_policy=NO_DEFAULT,
            tool_policy=ToolPolicy(content_processor=ToolMainContentProcessor()),
        ),
        Template(
            "deepseek-prover",
            system_template="{system_message}\n",
            system_message=CODER,
            user_template="### Instruction:\n{content}\n",
            assistant_template="### Response:\n{content}\n<|EOT|>\n",
            stop_words=("<|EOT|>",),
        ),
        Template(
            "llemma",
            user_template="Input:{content}\n\n",
            assistant_template="Response:{content}</s>",
            stop_words=("</s>",),
        ),
    )
}
ALIASES = {
    "qwen3-instruct": "qwen3-2507-instruct",
    "qwen3-vl-instruct": "qwen3-vl",
    "kimi-k2-instruct": "kimi-k2",
}
"""Families under the names that chat-bricks has for them."""
