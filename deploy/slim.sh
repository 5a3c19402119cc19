# Takes out of an environment what no program of it reads, then imports all that runs use: what is missing fails here, and
# what is imported leaves its bytecode.
set -eu
python=$1/bin/python
cd "$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

rm -rf kubernetes/aio pandas/tests pyarrow/include pyarrow/src pyarrow/tests
rm -f pyarrow/*flight* pyarrow/*_s3* pyarrow/*s3fs*
find . -name '*.map' -delete
find botocore/data -mindepth 1 -maxdepth 1 -type d -not -name s3 -not -name 'sso*' -not -name sts -exec rm -r {} +
find . -name '*.so*' -type f -not -path '*.libs/*' -exec strip --strip-unneeded {} +

"$python" - <<'END'
import dagster._daemon.cli
import dagster_docker
import dagster_graphql.client
import dagster_postgres
import dagster_webserver.cli
import datasets
import gigatoken
import hypothesis.strategies
import kingfisher_sdk
import openai
import PIL.Image
import psycopg2
import s3fs
import typer
END
"$python" -B -c "import dagster_k8s" # for Kubernetes only, and its bytecode is 20 MB
