# Where agents run: Codex and Pi of these versions, and the tools that they expect. `collect.sandbox.image` names it.
#   docker build -t tracemill-sandbox -f deploy/sandbox.Dockerfile deploy
# Claude Code is not free software: it is in the image if you ask for it, under Anthropic's terms.
#   docker build --build-arg CLAUDE_CODE=2.1.197 …
ARG BASE=node:22.23-bookworm-slim
FROM ${BASE}

RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl git jq patch procps python3 ripgrep \
    && rm -rf /var/lib/apt/lists/*

ARG CODEX=0.169.0
ARG PI=1.5.2
# Pi's own archive holds all that it runs in one bundle: nothing else of npm is needed.
RUN npm install --global --no-audit --no-fund @openai/codex@${CODEX} \
    && cd /tmp && npm pack --silent @earendil-works/pi-coding-agent@${PI} \
    && mkdir /opt/pi && tar -xzf earendil-works-pi-coding-agent-*.tgz --strip-components 1 -C /opt/pi \
    && printf '#!/bin/sh\nexec node /opt/pi/dist/bundle/cli.js "$@"\n' > /usr/local/bin/pi && chmod 755 /usr/local/bin/pi \
    && rm -rf /tmp/* /root/.npm

ARG CLAUDE_CODE=
RUN [ -z "${CLAUDE_CODE}" ] || { npm install --global --no-audit --no-fund @anthropic-ai/claude-code@${CLAUDE_CODE} \
    && claude --version && rm -rf /root/.npm /root/.claude*; }

# The agent is nobody in particular; its home and its work are mounted. A repository in there belongs to somebody else.
RUN mkdir -p /home/agent /work /run/tracemill && chmod 777 /home/agent /work \
    && git config --system --add safe.directory '*' \
    && codex --version && pi --version
COPY sandbox/forward.js /opt/tracemill/forward.js
WORKDIR /work
CMD ["sleep", "infinity"]
