# hoso: worker by default; any other command of it as argument (topics create, simulate, audit …).
FROM python:3.11.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_CONSTRAINT=/src/constraints.txt
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY schemas ./schemas
COPY streams ./streams
RUN python -m venv /opt/hoso && /opt/hoso/bin/pip install '.[audit,rocksdb]'

FROM python:3.11.13-slim-bookworm
RUN groupadd --system --gid 10001 hoso \
    && useradd --system --uid 10001 --gid hoso --home-dir /var/lib/hoso --create-home \
       --shell /usr/sbin/nologin hoso
COPY --from=build /opt/hoso /opt/hoso
# In a container only its own address can be reached from outside, so all of them are served.
ENV PATH=/opt/hoso/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOSO_WEB_HOST=0.0.0.0 \
    HOSO_DATA_DIR=/var/lib/hoso/data \
    HOSO_LOG_FORMAT=json
USER 10001:10001
WORKDIR /var/lib/hoso
# Local rows are a cache: every container has a volume of its own, which may be thrown away.
VOLUME /var/lib/hoso
EXPOSE 6066
ENTRYPOINT ["hoso"]
CMD ["worker"]
